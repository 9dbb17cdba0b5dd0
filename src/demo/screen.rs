//! Where the picture goes: redrawn in place on a terminal, plain lines elsewhere. I/O.

use std::io;
use std::time::{Duration, Instant};

use console::Term;

use super::picture::{View, frame, line};

/// Standard output.
pub struct Screen {
    term: Term,
    drawn: usize,
    last: Option<Instant>,
}

impl Screen {
    /// Nothing is drawn yet.
    pub fn new() -> Self {
        Screen { term: Term::buffered_stdout(), drawn: 0, last: None }
    }

    /// Draws where it is time to: ten times a second on a terminal, else one line a second.
    ///
    /// # Errors
    /// Standard output is gone.
    pub fn show(&mut self, view: impl FnOnce() -> View) -> io::Result<()> {
        let terminal = self.term.is_term();
        let pause = Duration::from_millis(if terminal { 100 } else { 1000 });
        if self.last.is_some_and(|last| last.elapsed() < pause) {
            return Ok(());
        }
        self.last = Some(Instant::now());
        let view = view();
        if !terminal {
            self.term.write_line(&line(&view))?;
            return self.term.flush();
        }
        let (height, width) = self.term.size();
        self.term.hide_cursor()?;
        self.clear()?;
        let lines = frame(&view, width.into(), height.into());
        self.drawn = lines.len();
        lines.iter().try_for_each(|line| self.term.write_line(line))?;
        self.term.flush()
    }

    /// Takes the picture away, so that what follows stands alone.
    ///
    /// # Errors
    /// Standard output is gone.
    pub fn clear(&mut self) -> io::Result<()> {
        self.term.clear_last_lines(std::mem::take(&mut self.drawn))
    }
}

impl Default for Screen {
    fn default() -> Self {
        Screen::new()
    }
}

impl Drop for Screen {
    /// The cursor comes back however the demo ends.
    fn drop(&mut self) {
        if self.term.is_term() {
            let _ = self.term.show_cursor();
            let _ = self.term.flush();
        }
    }
}
