//! The source of each value, so that an error names its location: a line of the file, a variable, or an option.

use std::collections::BTreeMap;

use toml::de::{DeTable, DeValue};

use super::environment::variable_of;

/// The sources of all values of one configuration.
pub(super) struct Origins<'a> {
    /// The name of the file, or a text that says that there is none.
    name: &'a str,
    environment: &'a BTreeMap<String, String>,
    /// The line of each key: table, index in a list of tables, key. The key "" is the table itself.
    lines: BTreeMap<(String, usize, String), usize>,
    /// The names of the nodes, in their order.
    nodes: Vec<String>,
}

impl<'a> Origins<'a> {
    /// Looks for the keys in the text of a valid TOML file.
    pub(super) fn new(name: &'a str, text: &str, environment: &'a BTreeMap<String, String>) -> Self {
        let mut origins = Self { name, environment, lines: BTreeMap::new(), nodes: Vec::new() };
        let Ok(document) = DeTable::parse(text) else { return origins };
        let line =
            |offset: usize| text.as_bytes()[..offset.min(text.len())].iter().filter(|b| **b == b'\n').count() + 1;
        for (section, value) in document.get_ref() {
            let section = (section.get_ref().to_string(), line(section.span().start));
            match value.get_ref() {
                DeValue::Table(keys) => origins.table(&section, 0, keys, &line),
                DeValue::Array(tables) => {
                    for (number, table) in tables.iter().enumerate() {
                        let DeValue::Table(keys) = table.get_ref() else { continue };
                        let name = keys.iter().find(|(key, _)| key.get_ref() == "name");
                        let name = name.and_then(|(_, name)| name.get_ref().as_str()).unwrap_or("a");
                        origins.nodes.push(name.to_owned());
                        origins.table(&(section.0.clone(), line(table.span().start)), number, keys, &line);
                    }
                }
                _ => {}
            }
        }
        origins
    }

    fn table(
        &mut self,
        (section, at): &(String, usize),
        number: usize,
        keys: &DeTable<'_>,
        line: &impl Fn(usize) -> usize,
    ) {
        self.lines.insert((section.clone(), number, String::new()), *at);
        for key in keys.keys() {
            self.lines.insert((section.clone(), number, key.get_ref().to_string()), line(key.span().start));
        }
    }

    /// The location of a key as messages name it: `[http] workers`, `[[node]] http of "a"`, or several, `[peer] tls_ca, tls_cert`.
    /// If a variable sets the key, it is the variable; otherwise the file, with the line if the key is there.
    pub(super) fn place(&self, key: &str) -> String {
        let Some((section, rest)) = key.trim_start_matches('[').split_once(']') else { return self.name.to_owned() };
        let (keys, node) =
            rest.trim_start_matches([']', ' ']).split_once(" of ").unwrap_or((rest.trim_start_matches([']', ' ']), ""));
        let number = self.nodes.iter().position(|name| name == node.trim_matches('"')).unwrap_or(0);
        let keys = || keys.split(", ").filter(|key| !key.is_empty());
        if let Some(variable) =
            keys().map(|key| variable_of(section, key)).find(|name| self.environment.contains_key(name))
        {
            return variable;
        }
        let line = |key: &str| self.lines.get(&(section.to_owned(), number, key.to_owned()));
        match keys().find_map(line).or_else(|| line("")) {
            Some(line) => format!("{}:{line}", self.name),
            None => self.name.to_owned(),
        }
    }
}
