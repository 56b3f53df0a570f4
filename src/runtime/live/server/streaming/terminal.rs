//! What a terminal does between a person and a program: it shows what is typed, edits a line, ends it with both line ends,
//! and knows Ctrl-C and Ctrl-D.

use tokio::sync::mpsc;

use super::super::process::{Remote, with_returns};
use super::super::shell::{Piece, Stream};

/// The client's side of a terminal becomes the program's.
pub(super) fn behind(client: Remote) -> Remote {
    let Remote { input, output, tty, size } = client;
    let (pieces, mut written) = mpsc::channel::<Piece>(64);
    let (lines, read) = mpsc::unbounded_channel();
    let shown = output.clone();
    tokio::spawn(async move {
        while let Some((_, bytes)) = written.recv().await {
            if shown.send((Stream::Out, with_returns(&bytes))).await.is_err() {
                return;
            }
        }
    });
    let has_input = input.is_some();
    if let Some(input) = input {
        // It must not keep the client's output open.
        tokio::spawn(type_in(input, output.downgrade(), lines));
    }
    Remote { input: has_input.then_some(read), output: pieces, tty, size }
}

async fn type_in(
    mut input: mpsc::UnboundedReceiver<Vec<u8>>,
    output: mpsc::WeakSender<Piece>,
    lines: mpsc::UnboundedSender<Vec<u8>>,
) {
    let mut line = Line::default();
    while let Some(bytes) = input.recv().await {
        for byte in bytes {
            let (shown, typed) = line.key(byte);
            if !shown.is_empty()
                && let Some(output) = output.upgrade()
            {
                let _gone = output.send((Stream::Out, shown)).await;
            }
            match typed {
                Typed::Nothing => {}
                Typed::Line(bytes) => {
                    let _gone = lines.send(bytes);
                }
                Typed::End => return,
            }
        }
    }
}

/// A line as far as it is typed.
#[derive(Default)]
struct Line(Vec<u8>);

enum Typed {
    Nothing,
    Line(Vec<u8>),
    /// The end of all input.
    End,
}

impl Line {
    /// What is shown for a key, and what the program gets.
    fn key(&mut self, key: u8) -> (Vec<u8>, Typed) {
        match key {
            b'\r' | b'\n' => {
                let mut line = std::mem::take(&mut self.0);
                line.push(b'\n');
                (b"\r\n".to_vec(), Typed::Line(line))
            }
            // Ctrl-C: the line is given up.
            3 => {
                self.0.clear();
                (b"^C\r\n".to_vec(), Typed::Line(b"\n".to_vec()))
            }
            // Ctrl-D.
            4 if self.0.is_empty() => (Vec::new(), Typed::End),
            4 => (Vec::new(), Typed::Line(std::mem::take(&mut self.0))),
            8 | 127 => match self.0.pop() {
                Some(_) => (b"\x08 \x08".to_vec(), Typed::Nothing),
                None => (Vec::new(), Typed::Nothing),
            },
            // Keys that move the cursor, and others that are not letters, do nothing.
            key if key < 32 && key != b'\t' => (Vec::new(), Typed::Nothing),
            key => {
                self.0.push(key);
                (vec![key], Typed::Nothing)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_shown_edited_and_handed_over_whole() {
        let mut line = Line::default();
        let (mut shown, mut lines) = (Vec::new(), Vec::new());
        for key in b"ech\x7f\x7fcho hi\rab\x03\x04" {
            let (more, typed) = line.key(*key);
            shown.extend(more);
            match typed {
                Typed::Nothing => {}
                Typed::Line(line) => lines.push(String::from_utf8(line).expect("text")),
                Typed::End => lines.push("end".to_owned()),
            }
        }
        assert_eq!(lines, ["echo hi\n", "\n", "end"]);
        assert_eq!(String::from_utf8_lossy(&shown), "ech\x08 \x08\x08 \x08cho hi\r\nab^C\r\n");
    }
}
