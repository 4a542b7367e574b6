//! The environment variables of the command line. An empty variable counts as not set, except for secrets.

use std::collections::BTreeMap;
use std::ffi::OsStr;

use clap::error::{ContextKind, ContextValue};
use clap::{ArgMatches, Command};

use crate::complain;
use crate::config::{self, ConfigError};

/// Variables that set an option and not a key of the file.
const OF_OPTIONS: &[&str] =
    &["WAYPOST_CONFIG", "WAYPOST_NODE", "WAYPOST_DATA_DIR", "WAYPOST_LISTEN", "WAYPOST_ADMIN_LISTEN"];

/// All variables of this program that are set.
pub(super) fn all() -> Result<BTreeMap<String, String>, ConfigError> {
    config::variables_set(std::env::vars_os())
}

/// The variables that override keys of the file, and the secrets.
pub(super) fn of_keys() -> Result<BTreeMap<String, String>, ConfigError> {
    let mut variables = all()?;
    variables.retain(|name, _| !OF_OPTIONS.contains(&name.as_str()));
    Ok(variables)
}

/// Parses the command line of `command`. Exits the process if nothing else is to be done, as for `--help`, or if it is wrong.
///
/// # Errors
/// If the variable of a secret option is empty.
pub(super) fn parse(command: Command) -> Result<ArgMatches, ConfigError> {
    let mut command = without_empty(command);
    match command.try_get_matches_from_mut(std::env::args_os()) {
        Ok(matches) => Ok(matches),
        Err(error) => {
            if let Some((option, variable)) = source(&command, &error) {
                if config::SECRETS.contains(&variable.as_str()) && is_empty(OsStr::new(&variable)) {
                    let message = "it is empty; set it to the secret, or unset it".to_owned();
                    return Err(ConfigError::Invalid { place: variable, message });
                }
                let _ = error.print();
                complain!("\n{option} was not given: the value is that of the variable {variable}");
                std::process::exit(error.exit_code());
            }
            error.exit()
        }
    }
}

fn is_empty(variable: &OsStr) -> bool {
    std::env::var_os(variable).is_some_and(|value| value.to_str().is_some_and(|value| value.trim().is_empty()))
}

/// Makes options ignore empty variables. The help shows the names of the variables, but not their values.
fn without_empty(command: Command) -> Command {
    let command = command.mut_args(|arg| match arg.get_env() {
        Some(name) if is_empty(name) && !config::SECRETS.iter().any(|secret| name == OsStr::new(secret)) => {
            arg.env(None::<&'static str>)
        }
        _ => arg.hide_env_values(true),
    });
    command.mut_subcommands(without_empty)
}

/// The variable that a wrong value comes from, if it does not come from the option itself.
fn source(command: &Command, error: &clap::Error) -> Option<(String, String)> {
    let Some(ContextValue::String(shown)) = error.get(ContextKind::InvalidArg) else { return None };
    let option = shown.split([' ', '=']).next()?.to_owned();
    let given = std::env::args().any(|arg| arg.split('=').next() == Some(&option));
    let variable = variable_of(command, option.strip_prefix("--")?)?;
    (!given && std::env::var_os(&variable).is_some()).then_some((option, variable))
}

fn variable_of(command: &Command, long: &str) -> Option<String> {
    let own = command.get_arguments().find(|arg| arg.get_long() == Some(long) && arg.get_env().is_some());
    match own {
        Some(arg) => arg.get_env()?.to_str().map(str::to_owned),
        None => command.get_subcommands().find_map(|command| variable_of(command, long)),
    }
}
