//! Reading one table of the file, and collecting what is wrong with it.
use super::{
    ConfigError, Problem,
    error::Source,
    value::{Reading, Wrong},
};
use std::ops::Range;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// All that was found wrong so far.
#[derive(Debug)]
pub(super) struct Diagnostics<'a> {
    source: Source<'a>,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl<'a> Diagnostics<'a> {
    pub(super) fn new(source: Source<'a>) -> Self {
        Self {
            source,
            problems: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// The configuration, if nothing is wrong with it.
    pub(super) fn finish(mut self, config: super::Config) -> Result<super::Config, ConfigError> {
        if self.problems.is_empty() {
            return Ok(super::Config {
                warnings: self.warnings,
                ..config
            });
        }
        self.problems.sort_by_key(|problem| problem.line);
        Err(ConfigError::Invalid(self.problems))
    }

    pub(super) fn line(&self, offset: usize) -> usize {
        self.source.line(offset)
    }

    pub(super) fn add(&mut self, offset: usize, key: String, wrong: Wrong) {
        let problem = self.problem(offset, key, wrong);
        self.problems.push(problem);
    }

    pub(super) fn warn(&mut self, offset: usize, key: String, wrong: Wrong) {
        let warning = self.problem(offset, key, wrong);
        self.warnings.push(warning);
    }

    fn problem(&self, offset: usize, key: String, wrong: Wrong) -> Problem {
        Problem {
            file: self.source.file.to_owned(),
            line: self.source.line(offset),
            key,
            message: wrong.message,
            remedy: wrong.remedy,
        }
    }
}

/// A table of which all keys are known.
#[derive(Debug)]
pub(super) struct Section<'s, 'd, 'i> {
    /// Path of the section with a trailing dot; empty at the top.
    prefix: String,
    /// Where the section starts, for what is missing in it.
    offset: usize,
    table: &'s DeTable<'i>,
    pub(super) diagnostics: &'s mut Diagnostics<'d>,
}

impl<'s, 'd, 'i> Section<'s, 'd, 'i> {
    /// Opens a section; keys that are not in `known` are problems.
    pub(super) fn new(
        path: &str,
        offset: usize,
        table: &'s DeTable<'i>,
        known: &[&str],
        diagnostics: &'s mut Diagnostics<'d>,
    ) -> Self {
        let prefix = match path {
            "" => String::new(),
            path => format!("{path}."),
        };
        for key in table.keys() {
            if !known.contains(&key.get_ref().as_ref()) {
                let wrong = unknown_key(key.get_ref(), known);
                diagnostics.add(
                    key.span().start,
                    format!("{prefix}{}", key.get_ref()),
                    wrong,
                );
            }
        }
        Self {
            prefix,
            offset,
            table,
            diagnostics,
        }
    }

    /// The value of `key` read by `read`; `None` if it is missing or wrong (which is noted).
    pub(super) fn get<T>(
        &mut self,
        key: &str,
        read: impl FnOnce(&Reading<'_, 'i>) -> Result<T, Wrong>,
    ) -> Option<T> {
        let value = self.table.get(key)?;
        let reading = Reading {
            value: value.get_ref(),
            text: self.diagnostics.source.excerpt(value.span()),
        };
        match read(&reading) {
            Ok(value) => Some(value),
            Err(wrong) => {
                self.diagnostics
                    .add(value.span().start, self.path(key), wrong);
                None
            }
        }
    }

    /// The tables in the table `key`, each with its name.
    pub(super) fn tables(&mut self, key: &str) -> Vec<Named<'s, 'i>> {
        let Some(value) = self.table.get(key) else {
            return Vec::new();
        };
        let DeValue::Table(tables) = value.get_ref() else {
            let wrong = not_a_table(key, "NAME");
            self.problem(key, wrong);
            return Vec::new();
        };
        let mut found = Vec::new();
        for (name, value) in tables {
            let path = format!("{}.{}", self.path(key), name.get_ref());
            if let DeValue::Table(table) = value.get_ref() {
                found.push(Named {
                    name: name.get_ref().to_string(),
                    path,
                    span: name.span(),
                    table,
                });
            } else {
                let wrong = not_a_table(key, name.get_ref());
                self.diagnostics.add(name.span().start, path, wrong);
            }
        }
        found
    }

    /// The table `key`, if it is there.
    pub(super) fn table(&mut self, key: &str) -> Option<Named<'s, 'i>> {
        let (name, value) = self.table.get_key_value(key)?;
        let DeValue::Table(table) = value.get_ref() else {
            let prefix = self.prefix.trim_end_matches('.').to_owned();
            let remedy = format!("write a section [{prefix}.{key}]");
            self.problem(key, Wrong::new("must be a table", remedy));
            return None;
        };
        Some(Named {
            name: key.to_owned(),
            path: self.path(key),
            span: name.span(),
            table,
        })
    }

    /// Notes a problem of `key`, or of the whole section if the key is not there.
    pub(super) fn problem(&mut self, key: &str, wrong: Wrong) {
        let offset = self.offset_of(key);
        self.diagnostics.add(offset, self.path(key), wrong);
    }

    /// Notes something that looks wrong.
    pub(super) fn warning(&mut self, key: &str, wrong: Wrong) {
        let offset = self.offset_of(key);
        self.diagnostics.warn(offset, self.path(key), wrong);
    }

    /// Whether `key` is there.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Line of `key`, or of the section if the key is not there.
    pub(super) fn line_of(&self, key: &str) -> usize {
        self.diagnostics.line(self.offset_of(key))
    }

    fn offset_of(&self, key: &str) -> usize {
        let value: Option<&Spanned<DeValue<'_>>> = self.table.get(key);
        value.map_or(self.offset, |value| value.span().start)
    }

    fn path(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }
}

/// A table that the file gives a name.
#[derive(Debug)]
pub(super) struct Named<'s, 'i> {
    pub(super) name: String,
    /// Its full path.
    pub(super) path: String,
    /// Where the name stands.
    pub(super) span: Range<usize>,
    pub(super) table: &'s DeTable<'i>,
}

fn not_a_table(key: &str, name: &str) -> Wrong {
    Wrong::new("must be a table", format!("write a section [{key}.{name}]"))
}

/// Keys that are close enough to have been meant.
const SIMILAR: f64 = 0.75;

fn unknown_key(key: &str, known: &[&str]) -> Wrong {
    let closest = known
        .iter()
        .map(|candidate| (strsim::jaro_winkler(key, candidate), candidate))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(similarity, _)| *similarity >= SIMILAR);
    let meant = closest.map_or_else(String::new, |(_, closest)| {
        format!("did you mean `{closest}`? ")
    });
    Wrong::new(
        "unknown key",
        format!("{meant}known here: {}", known.join(", ")),
    )
}
