//! Progress for people: a spinner on a terminal, plain lines elsewhere.
use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// How to talk to whoever started us.
#[derive(Debug, Clone, Copy)]
pub struct Ui {
    terminal: bool,
}

impl Default for Ui {
    fn default() -> Self {
        Self::new()
    }
}

impl Ui {
    /// Spinners if standard error is a terminal and `CI` is not set.
    pub fn new() -> Self {
        Self {
            terminal: std::io::stderr().is_terminal() && std::env::var_os("CI").is_none(),
        }
    }

    /// Runs one external step and shows its title, what it is doing, and the time it took.
    pub fn step<T>(self, title: &str, work: impl FnOnce(&Step) -> Result<T>) -> Result<T> {
        self.judged(title, work, |_| true)
    }

    /// The same for a step whose outcome may be a failure although it came to its end.
    pub fn judged<T>(
        self,
        title: &str,
        work: impl FnOnce(&Step) -> Result<T>,
        is_good: impl FnOnce(&T) -> bool,
    ) -> Result<T> {
        let step = Step::start(title, self.terminal);
        let result = work(&step);
        step.finish(result.as_ref().is_ok_and(is_good));
        result
    }

    /// Says that a step with its own output begins (cargo, a shell).
    pub fn heading(self, title: &str) {
        if self.terminal {
            eprintln!("\x1b[1m▶ {title}\x1b[0m");
        } else {
            eprintln!("▶ {title}");
        }
    }

    /// One line of information.
    pub fn note(self, text: &str) {
        eprintln!("  {text}");
    }
}

/// A running step.
#[derive(Debug)]
pub struct Step {
    title: String,
    started: Instant,
    spinner: Option<ProgressBar>,
}

impl Step {
    fn start(title: &str, terminal: bool) -> Self {
        let spinner = terminal.then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix} {elapsed} {msg}") {
                bar.set_style(style);
            }
            bar.set_prefix(title.to_owned());
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        if spinner.is_none() {
            eprintln!("• {title}");
        }
        Self {
            title: title.to_owned(),
            started: Instant::now(),
            spinner,
        }
    }

    /// What the step is doing now.
    pub fn progress(&self, text: &str) {
        match &self.spinner {
            Some(bar) => bar.set_message(text.to_owned()),
            None => eprintln!("  {:6.1} s  {text}", self.elapsed()),
        }
    }

    /// A line that stays on the screen.
    pub fn line(&self, text: &str) {
        match &self.spinner {
            Some(bar) => bar.println(format!("  {text}")),
            None => eprintln!("  {text}"),
        }
    }

    fn elapsed(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    fn finish(self, ok: bool) {
        let seconds = self.elapsed();
        if let Some(bar) = &self.spinner {
            bar.finish_and_clear();
        }
        let mark = if ok { "✓" } else { "✗" };
        eprintln!("{mark} {} ({seconds:.1} s)", self.title);
    }
}
