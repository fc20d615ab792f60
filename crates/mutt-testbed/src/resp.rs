//! As much of the Redis protocol as administration of a test server needs.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

/// How long one answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// A connection to a server's Unix socket.
pub(crate) struct Resp {
    stream: BufReader<UnixStream>,
}

impl Resp {
    pub(crate) fn connect(socket: &Path) -> Result<Self> {
        let stream = UnixStream::connect(socket)
            .with_context(|| format!("cannot connect to {}", socket.display()))?;
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        stream.set_write_timeout(Some(ANSWER_LIMIT))?;
        Ok(Self {
            stream: BufReader::new(stream),
        })
    }

    /// Sends a command; arrays come back one element per line.
    pub(crate) fn command(&mut self, arguments: &[&str]) -> Result<String> {
        let mut request = Vec::new();
        write!(request, "*{}\r\n", arguments.len())?;
        for argument in arguments {
            write!(request, "${}\r\n{argument}\r\n", argument.len())?;
        }
        self.stream.get_mut().write_all(&request)?;
        self.reply()
    }

    fn reply(&mut self) -> Result<String> {
        let line = self.line()?;
        let (kind, rest) = line.split_at_checked(1).context("an empty answer")?;
        match kind {
            "+" | ":" => Ok(rest.to_owned()),
            "-" => bail!("{rest}"),
            "$" => {
                let Ok(length) = usize::try_from(rest.parse::<i64>()?) else {
                    return Ok(String::new());
                };
                let mut text = vec![0; length + 2];
                self.stream.read_exact(&mut text)?;
                text.truncate(length);
                Ok(String::from_utf8_lossy(&text).into_owned())
            }
            "*" => {
                let mut text = String::new();
                for number in 0..rest.parse::<i64>()?.max(0) {
                    let separator = if number == 0 { "" } else { "\n" };
                    write!(text, "{separator}{}", self.reply()?)?;
                }
                Ok(text)
            }
            _ => bail!("an answer that is not understood: {line}"),
        }
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        if line.is_empty() {
            bail!("the server closed the connection");
        }
        line.truncate(line.trim_end().len());
        Ok(line)
    }
}
