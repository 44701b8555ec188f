//! One screen, drawn anew as the story goes on. Where standard output is no terminal, each line is written once, when
//! it is settled.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal, Write},
    path::Path,
    time::Instant,
};

/// Carriage to the top left; what follows overwrites.
const HOME: &str = "\x1b[H";
const CLEAR: &str = "\x1b[2J\x1b[H";
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";
const BOLD: &str = "\x1b[1m";
const PLAIN: &str = "\x1b[0m";

/// The screen: settled lines, and lines that still change below them.
pub(crate) struct Screen {
    start: Instant,
    terminal: bool,
    settled: Vec<String>,
}

impl Screen {
    /// An empty screen; its clock starts.
    pub(crate) fn new() -> io::Result<Self> {
        let terminal = io::stdout().is_terminal();
        if terminal {
            write!(io::stdout(), "{CLEAR}")?;
        }
        Ok(Self {
            start: Instant::now(),
            terminal,
            settled: Vec::new(),
        })
    }

    /// A heading.
    pub(crate) fn section(&mut self, title: &str) -> io::Result<()> {
        let rule = "─".repeat(84_usize.saturating_sub(title.chars().count()));
        let (bold, plain) = if self.terminal { (BOLD, PLAIN) } else { ("", "") };
        self.settle(&[String::new(), format!("{bold}{title}{plain} {rule}")])
    }

    /// Lines that stay as they are.
    pub(crate) fn settle(&mut self, lines: &[String]) -> io::Result<()> {
        self.settled.extend_from_slice(lines);
        if self.terminal {
            return self.draw(&[]);
        }
        let mut out = io::stdout().lock();
        lines.iter().try_for_each(|line| writeln!(out, "{line}"))?;
        out.flush()
    }

    /// One settled line with the time since the start.
    pub(crate) fn step(&mut self, text: &str) -> io::Result<()> {
        let line = format!("{:>6.1} s  {text}", self.start.elapsed().as_secs_f64());
        self.settle(&[line])
    }

    /// Writes the settled lines as a picture, for a page that shows what was on the screen.
    pub(crate) fn save_picture(&self, file: &Path) -> io::Result<()> {
        let height = 20 * (self.settled.len() + 2);
        let mut picture = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"1000\" height=\"{height}\" font-family=\"monospace\" \
             font-size=\"13\" fill=\"#d8dee9\"><rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"#1b1f27\"/>\n"
        );
        for (index, line) in self.settled.iter().enumerate() {
            let text = line
                .replace(BOLD, "")
                .replace(PLAIN, "")
                .replace('&', "&amp;")
                .replace('<', "&lt;");
            let style = if text.contains("──") {
                " fill=\"#88c0d0\" font-weight=\"bold\""
            } else {
                ""
            };
            let y = 20 * (index + 1) + 10;
            let _infallible = writeln!(
                picture,
                "<text x=\"16\" y=\"{y}\" xml:space=\"preserve\"{style}>{text}</text>"
            );
        }
        picture.push_str("</svg>\n");
        std::fs::write(file, picture)
    }

    /// Draws the settled lines, and below them some that will change; on a terminal only.
    pub(crate) fn draw(&self, changing: &[String]) -> io::Result<()> {
        if !self.terminal {
            return Ok(());
        }
        let lines = self.settled.len() + changing.len();
        // What does not fit scrolls off the top.
        let hidden = lines.saturating_sub(height().saturating_sub(1));
        let mut out = io::stdout().lock();
        write!(out, "{HOME}")?;
        for line in self.settled.iter().chain(changing).skip(hidden) {
            writeln!(out, "{line}{CLEAR_LINE}")?;
        }
        write!(out, "{CLEAR_BELOW}")?;
        out.flush()
    }

    /// Leaves the whole story on the terminal, also what had scrolled off.
    pub(crate) fn finish(&self) -> io::Result<()> {
        if !self.terminal {
            return Ok(());
        }
        let mut out = io::stdout().lock();
        write!(out, "{CLEAR}")?;
        self.settled.iter().try_for_each(|line| writeln!(out, "{line}"))?;
        out.flush()
    }
}

/// Rows of the terminal.
fn height() -> usize {
    terminal_size::terminal_size().map_or(usize::MAX, |(_, height)| usize::from(height.0))
}
