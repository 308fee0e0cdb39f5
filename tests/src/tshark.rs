//! What a wire carries, field by field, as tshark dissects it.
use crate::{Namespace, Process};
use nix::sys::signal::Signal;
use std::path::Path;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_mins(1);
/// Between fields, and in none of those that are asked for.
const SEPARATOR: char = '|';
/// The first field: it tells a frame's line from what tshark says of itself.
const NUMBER: &str = "frame.number";

/// A capture that goes on until it is stopped.
#[derive(Debug)]
pub struct Tshark<const FIELDS: usize> {
    process: Process,
}

impl<const FIELDS: usize> Tshark<FIELDS> {
    /// Captures on `interface`, and misses nothing from now on. `fields` are named as display filters name them.
    #[track_caller]
    pub fn start(
        namespace: &Namespace,
        interface: &str,
        directory: &Path,
        fields: [&str; FIELDS],
    ) -> Self {
        let mut command = namespace.command("tshark");
        // Its pcap file, which stays behind if it is killed.
        command.env("TMPDIR", directory);
        command.args(["-i", interface, "-l", "-n", "-T", "fields"]);
        command.arg(format!("-Eseparator={SEPARATOR}"));
        // A client's identifier holds its address once more.
        command.arg("-Eoccurrence=f");
        for field in [NUMBER].iter().chain(&fields) {
            command.args(["-e", field]);
        }
        let mut process = Process::start("tshark", directory, &mut command);
        // "Capturing on" comes before the interface is open, this one after it.
        process.wait_for("Capture started.", PATIENCE);
        Self { process }
    }

    /// The fields of the frames so far; one that a frame lacks is empty.
    pub fn frames(&self) -> Vec<[String; FIELDS]> {
        frames_in(&self.process.log())
    }

    /// Fails with its last words if it has ended.
    #[track_caller]
    pub fn must_run(&mut self) {
        self.process.must_run();
    }

    /// Ends the capture.
    #[track_caller]
    pub fn stop(mut self) {
        self.process.signal(Signal::SIGTERM);
        self.process.wait(PATIENCE);
    }
}

fn frames_in<const FIELDS: usize>(log: &str) -> Vec<[String; FIELDS]> {
    // The last line may not be all there yet.
    let whole = log.rfind('\n').map_or("", |end| &log[..end]);
    whole.lines().filter_map(fields_of).collect()
}

fn fields_of<const FIELDS: usize>(line: &str) -> Option<[String; FIELDS]> {
    let (number, fields) = line.split_once(SEPARATOR)?;
    number.parse::<u64>().ok()?;
    let fields: Vec<String> = fields.split(SEPARATOR).map(str::to_owned).collect();
    fields.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_lines_of_frames_are_read_and_nothing_else() {
        let log = "Capturing on 'eth0'\n ** (tshark:1) -- Capture started.\n1|a|\n2||b\n3|c|d";
        let wanted = [["a", ""], ["", "b"]].map(|fields| fields.map(str::to_owned));
        assert_eq!(frames_in::<2>(log), wanted);
    }
}
