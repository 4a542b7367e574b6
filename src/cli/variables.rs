//! The environment variables of the command line. An empty variable counts as not set, except for secrets.

use std::collections::BTreeMap;
use std::ffi::OsStr;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgMatches, Command};

use crate::complain;
use crate::config::{self, ConfigError};

/// All variables of this program that are set.
pub(super) fn all() -> Result<BTreeMap<String, String>, ConfigError> {
    config::variables_set(std::env::vars_os())
}

/// As [`all`].
///
/// # Errors
/// If one of them is unknown, too.
pub(super) fn all_known() -> Result<BTreeMap<String, String>, ConfigError> {
    let variables = all()?;
    config::all_known(&variables)?;
    Ok(variables)
}

/// The variables that override keys of the file, and the secrets.
pub(super) fn of_keys() -> Result<BTreeMap<String, String>, ConfigError> {
    let mut variables = all()?;
    variables.retain(|name, _| !config::OF_OPTIONS.contains(&name.as_str()));
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
            if let Some(hint) = hint(&error) {
                let _ = error.print();
                complain!("\n{hint}");
                std::process::exit(error.exit_code());
            }
            error.exit()
        }
    }
}

/// What to write instead of an argument that a command does not have, but people try.
fn hint(error: &clap::Error) -> Option<&'static str> {
    let (ErrorKind::UnknownArgument, Some(ContextValue::String(argument))) =
        (error.kind(), error.get(ContextKind::InvalidArg))
    else {
        return None;
    };
    let usage = error.get(ContextKind::Usage).map(ToString::to_string).unwrap_or_default();
    let of = |command: &str| usage.contains(&format!("waypost {command} "));
    match argument.as_str() {
        "--server" if of("cluster") => {
            Some("`waypost cluster` asks the admin listener of a node: --admin http://HOST:9090")
        }
        "--admin" => Some("This command asks the public listener of a node: --server http://HOST:8080"),
        _ if argument.starts_with('-') => None,
        _ if of("config check") || of("config show") || of("serve") => {
            Some("Give a configuration file with --config FILE")
        }
        _ if of("check") => Some(
            "Give a data directory with --data-dir DIR, a backup with --backup FILE, or a configuration file with --config FILE",
        ),
        _ => None,
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
    let of_option = |arg: &OsStr| arg.as_encoded_bytes().split(|byte| *byte == b'=').next() == Some(option.as_bytes());
    let given = std::env::args_os().any(|arg| of_option(&arg));
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
