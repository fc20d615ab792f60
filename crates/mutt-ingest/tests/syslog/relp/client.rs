//! A RELP sender that does what a test tells it, also what no sender should.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::PATIENCE;

/// What rsyslog offers.
pub const OFFERS: &str =
    "relp_version=0\nrelp_software=librelp,1.11.0,http://librelp.adiscon.com\ncommands=syslog";

/// One response or hint: its number, its command, its text.
pub type Said = (u32, String, String);

pub struct Client {
    pub stream: TcpStream,
    /// The number of the next frame.
    pub next: u32,
    /// What came and was not looked at.
    heard: Vec<u8>,
}

/// A frame as it stands on the wire.
pub fn frame(number: u32, command: &str, data: &str) -> String {
    let space = if data.is_empty() { "" } else { " " };
    format!("{number} {command} {}{space}{data}\n", data.len())
}

impl Client {
    /// A connection on which nothing was said.
    pub async fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            next: 1,
            heard: Vec::new(),
        }
    }

    /// An open session.
    pub async fn open(addr: SocketAddr) -> Self {
        let mut client = Self::connect(addr).await;
        client.send("open", OFFERS).await;
        let (number, command, text) = client.hear().await;
        assert_eq!((number, command.as_str()), (1, "rsp"));
        assert!(text.starts_with("200 OK\n"), "{text}");
        client
    }

    /// Sends bytes as they are.
    pub async fn raw(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Sends the next frame.
    pub async fn send(&mut self, command: &str, data: &str) {
        let frame = frame(self.next, command, data);
        self.next = self.next % 999_999_999 + 1;
        self.raw(frame).await;
    }

    /// Sends messages, all in one piece, that say what `text` makes of their position.
    pub async fn messages(&mut self, count: usize, text: impl Fn(usize) -> String) {
        let mut frames = String::new();
        for position in 0..count {
            frames += &frame(self.next, "syslog", &format!("<13>{}", text(position)));
            self.next = self.next % 999_999_999 + 1;
        }
        self.raw(frames).await;
    }

    /// What the server says next, if it says anything before it ends the connection.
    pub async fn try_hear(&mut self) -> Option<Said> {
        loop {
            if let Some((said, length)) = said(&self.heard) {
                self.heard.drain(..length);
                return Some(said);
            }
            let mut buffer = [0; 4096];
            let read = timeout(PATIENCE, self.stream.read(&mut buffer));
            match read.await.expect("the server says something") {
                Ok(0) | Err(_) => {
                    assert!(self.heard.is_empty(), "half a frame: {:?}", self.heard);
                    return None;
                }
                Ok(count) => self.heard.extend_from_slice(&buffer[..count]),
            }
        }
    }

    /// What the server says next.
    pub async fn hear(&mut self) -> Said {
        self.try_hear().await.expect("the server goes on")
    }

    /// Everything that the server says until it ends the connection, in short.
    pub async fn until_the_end(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        while let Some((number, command, text)) = self.try_hear().await {
            all.push(format!("{number} {command} {text}").trim().to_owned());
        }
        all
    }

    /// The next `count` responses: acknowledgements of these transactions, in order.
    pub async fn acknowledged(&mut self, from: u32, count: usize) {
        for step in 0..count {
            let number = from + u32::try_from(step).unwrap();
            let expected = (number, "rsp".to_owned(), "200 OK".to_owned());
            assert_eq!(self.hear().await, expected);
        }
    }

    /// Whether nothing was said up to now.
    pub fn has_heard_nothing(&mut self) -> bool {
        let mut buffer = [0; 1];
        self.heard.is_empty() && self.stream.try_read(&mut buffer).is_err()
    }
}

/// The frame at the front of the bytes, and how long it is.
fn said(bytes: &[u8]) -> Option<(Said, usize)> {
    let text = std::str::from_utf8(bytes).unwrap();
    let mut parts = text.splitn(3, ' ');
    let (number, command, rest) = (parts.next()?, parts.next()?, parts.next()?);
    let digits = rest.find(|character: char| !character.is_ascii_digit())?;
    let length: usize = rest[..digits].parse().unwrap();
    let start = if length == 0 { digits } else { digits + 1 };
    let data = rest.get(start..start + length)?;
    let end = rest.get(start + length..=start + length)?;
    assert_eq!(end, "\n", "{text:?}");
    let consumed = text.len() - rest.len() + start + length + 1;
    let said = (number.parse().unwrap(), command.to_owned(), data.to_owned());
    Some((said, consumed))
}
