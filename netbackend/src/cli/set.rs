//! `--set KEY=VALUE`: any key of the configuration on the command line.
use super::Failure;
use serde_json::{Map, Value};

/// Reads assignments as TOML; a value that is no TOML is a string, for shells eat quotes.
pub(super) fn read(assignments: &[String]) -> Result<Map<String, Value>, Failure> {
    let mut settings = Map::new();
    for assignment in assignments {
        let table = parse(assignment).ok_or_else(|| {
            Failure::usage(format_args!(
                "--set {assignment} is not understood (write KEY=VALUE, like ageing=60s or uplink=true)"
            ))
        })?;
        merge(&mut settings, table);
    }
    Ok(settings)
}

fn parse(assignment: &str) -> Option<Map<String, Value>> {
    let (key, value) = assignment.split_once('=')?;
    let table: toml::Table = assignment.parse().ok().or_else(|| {
        let quoted = toml::Value::String(value.into());
        format!("{key} = {quoted}").parse().ok()
    })?;
    match serde_json::to_value(table) {
        Ok(Value::Object(settings)) => Some(settings),
        _ => None,
    }
}

/// Several assignments may go into one table, like ports.a.mac=... and ports.a.queue_pairs=...
fn merge(into: &mut Map<String, Value>, from: Map<String, Value>) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Value::Object(into)), Value::Object(from)) => merge(into, from),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn settings(assignments: &[&str]) -> String {
        let assignments: Vec<_> = assignments.iter().map(ToString::to_string).collect();
        serde_json::to_string(&read(&assignments).unwrap()).unwrap()
    }

    #[test]
    fn values_are_toml_or_else_strings() {
        assert_eq!(settings(&["mtu=9000"]), r#"{"mtu":9000}"#);
        assert_eq!(settings(&["ageing=60s"]), r#"{"ageing":"60s"}"#);
        assert_eq!(
            settings(&["mac=52:54:00:00:00:01"]),
            r#"{"mac":"52:54:00:00:00:01"}"#
        );
        assert_eq!(
            settings(&["socket_mode=\"0666\""]),
            r#"{"socket_mode":"0666"}"#
        );
        assert_eq!(settings(&["uplink=true"]), r#"{"uplink":true}"#);
    }

    #[test]
    fn assignments_into_one_table_are_put_together() {
        let found = settings(&[
            "ports.a.kind=tap",
            "ports.a.interface=x",
            "ports.b={uplink=true}",
        ]);
        let expected = r#"{"ports":{"a":{"interface":"x","kind":"tap"},"b":{"uplink":true}}}"#;
        let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        assert_eq!(parse(&found), parse(expected));
    }

    #[test]
    fn nonsense_is_refused_with_an_example() {
        for wrong in ["mtu", "=1", "a b=1"] {
            let failure = read(&[wrong.to_string()]).unwrap_err();
            assert_eq!(failure.code, 2);
            assert!(failure.message.contains("KEY=VALUE"), "{}", failure.message);
        }
    }
}
