//! QEMU's control protocol, as far as tests need it.
use crate::wait_until;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_mins(1);

/// A connection to a QEMU's `-qmp unix:SOCKET,server=on,wait=off`.
#[derive(Debug)]
pub struct Qmp {
    stream: BufReader<UnixStream>,
}

impl Qmp {
    /// Waits for the socket and leaves negotiation mode.
    #[track_caller]
    pub fn connect(socket: &Path) -> Self {
        let connect = || UnixStream::connect(socket).ok();
        let stream = wait_until("QEMU's control socket", PATIENCE, connect);
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("a timeout can be set");
        let mut qmp = Self {
            stream: BufReader::new(stream),
        };
        let greeting = qmp.read();
        assert!(greeting.get("QMP").is_some(), "greeting: {greeting}");
        qmp.execute("qmp_capabilities", &json!({}));
        qmp
    }

    /// Runs a command and returns what it returns.
    #[track_caller]
    pub fn execute(&mut self, command: &str, arguments: &Value) -> Value {
        let line = json!({ "execute": command, "arguments": arguments });
        // At once: QEMU is done with a command at its last brace, and after "quit" it is gone before a line's end is written.
        let line = format!("{line}\n");
        let written = self.stream.get_mut().write_all(line.as_bytes());
        written.expect("QEMU takes commands");
        loop {
            let mut answer = self.read();
            assert!(answer.get("error").is_none(), "{command}: {answer}");
            // Else it is an event.
            if let Some(value) = answer.get_mut("return") {
                return value.take();
            }
        }
    }

    /// The next event of this name that nothing was executed after; its data.
    #[track_caller]
    pub fn event(&mut self, name: &str) -> Value {
        loop {
            let mut said = self.read();
            if said.get("event").is_some_and(|event| event == name) {
                return said.get_mut("data").map_or(Value::Null, Value::take);
            }
        }
    }

    fn read(&mut self) -> Value {
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("QEMU answers");
        serde_json::from_str(&line).expect("QEMU speaks JSON")
    }
}
