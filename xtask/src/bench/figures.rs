//! What was measured, by peer and workload.
use super::backend::Peer;
use super::generator::Sample;
use super::statistics::{Summary, summarize};
use super::workload::{Target, Workload};

/// All samples that count, and why others are missing.
#[derive(Debug, Default)]
pub(super) struct Figures {
    samples: Vec<(Peer, &'static str, Sample)>,
    notes: Vec<String>,
}

impl Figures {
    pub(super) fn add(&mut self, peer: Peer, workload: &Workload, sample: Sample) {
        self.samples.push((peer, workload.id, sample));
    }

    /// Why there is no figure; said once, however often it happens.
    pub(super) fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    pub(super) fn notes(&self) -> &[String] {
        &self.notes
    }

    pub(super) fn summary(
        &self,
        peer: Peer,
        workload: &str,
        value: impl Fn(&Sample) -> f64,
    ) -> Option<Summary> {
        let fitting = self
            .samples
            .iter()
            .filter(|(of, id, _)| *of == peer && *id == workload);
        summarize(fitting.map(|(_, _, sample)| value(sample)))
    }

    /// Ours divided by theirs, in frames or, between different frames, in bits.
    pub(super) fn ratio(&self, target: &Target) -> Option<f64> {
        let value = |sample: &Sample| {
            if target.compares_bits() {
                sample.gbps
            } else {
                sample.mpps
            }
        };
        let ours = self.summary(Peer::Netbackend, target.workload, value)?;
        let beside = target.beside.unwrap_or(target.workload);
        let theirs = self.summary(target.peer, beside, value)?;
        Some(ours.median / theirs.median)
    }
}

#[cfg(test)]
#[path = "figures_test.rs"]
mod tests;
