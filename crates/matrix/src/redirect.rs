//! Where a browser ends up after a login: a listener on loopback that takes one address, and tells the browser that it may be
//! closed. Who else opens a page there gets nothing, and does not end the wait.

use std::future::pending;
use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use url::Url;

/// Maximum size of a request's head in bytes: an address and what a browser says of itself.
const LONGEST_HEAD: usize = 64 * 1024;
/// Maximum time for a request. A browser opens connections in advance, and sends nothing on them.
const REQUEST_LIMIT: Duration = Duration::from_secs(30);
/// Maximum number of connections at a time.
const MOST_CONNECTIONS: usize = 32;

const DONE: &str = "The relay has what it needs. You can close this page.\n";
const NOTHING: &str = "There is nothing here.\n";

/// A listener on a random port of loopback.
#[derive(Debug)]
pub(super) struct Redirect {
    listener: TcpListener,
    port: u16,
}

impl Redirect {
    pub(super) async fn listen() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        Ok(Self { listener, port })
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Waits for an address that is awaited, and returns it. Cancel safe: an address whose answer was not sent is lost.
    pub(super) async fn awaited(&self, is_awaited: impl Fn(&Url) -> bool) -> Url {
        let mut connections = FuturesUnordered::new();
        loop {
            let has_room = connections.len() < MOST_CONNECTIONS;
            tokio::select! {
                accepted = self.listener.accept(), if has_room => match accepted {
                    Ok((connection, _)) => connections.push(timeout(
                        REQUEST_LIMIT,
                        self.answer(connection, &is_awaited),
                    )),
                    // Possibly too many open files.
                    Err(_) => sleep(Duration::from_millis(100)).await,
                },
                Some(answered) = connections.next() => {
                    if let Ok(Ok(Some(url))) = answered {
                        return url;
                    }
                }
                () = pending() => {}
            }
        }
    }

    /// Answers one request; returns its address if that is awaited.
    async fn answer(
        &self,
        mut connection: TcpStream,
        is_awaited: &impl Fn(&Url) -> bool,
    ) -> io::Result<Option<Url>> {
        let mut head = Vec::new();
        while !head.windows(4).any(|it| it == b"\r\n\r\n") {
            if head.len() > LONGEST_HEAD || connection.read_buf(&mut head).await? == 0 {
                return Ok(None);
            }
        }
        let url = self.address(&head).filter(is_awaited);
        let (status, page) = if url.is_some() {
            ("200 OK", DONE)
        } else {
            ("404 Not Found", NOTHING)
        };
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\ncache-control: no-store\r\n\
             referrer-policy: no-referrer\r\nx-content-type-options: nosniff\r\nconnection: close\r\n\r\n{page}",
            page.len()
        );
        // Whether the browser waits for it or not, it has brought what was awaited.
        let written = connection.write_all(answer.as_bytes()).await;
        drop(written.and(connection.shutdown().await));
        Ok(url)
    }

    /// Returns the address of a GET request.
    fn address(&self, head: &[u8]) -> Option<Url> {
        let head = std::str::from_utf8(head).ok()?;
        let mut line = head.lines().next()?.split(' ');
        let (method, target) = (line.next()?, line.next()?);
        let is_page = method == "GET" && target.starts_with('/');
        let url = || Url::parse(&format!("http://127.0.0.1:{}{target}", self.port)).ok();
        is_page.then(url)?
    }
}

#[cfg(test)]
mod tests {
    use matrix_sdk::reqwest;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn only_the_awaited_address_ends_the_wait_and_its_browser_is_told_so() {
        let redirect = Redirect::listen().await.unwrap();
        let base = format!("http://127.0.0.1:{}", redirect.port());
        // A browser's connection in advance.
        let _silent = TcpStream::connect(("127.0.0.1", redirect.port()))
            .await
            .unwrap();
        let browse = async {
            let mut pages = Vec::new();
            for path in ["/favicon.ico", "/wrong?token=injected", "/right?token=ours"] {
                let answer = reqwest::get(format!("{base}{path}")).await.unwrap();
                pages.push((answer.status().as_u16(), answer.text().await.unwrap()));
            }
            pages
        };
        let wait = redirect.awaited(|url| url.path() == "/right");
        let both = async { tokio::join!(wait, browse) };
        let (url, pages) = timeout(Duration::from_mins(1), both).await.unwrap();
        assert_eq!(url.query(), Some("token=ours"));
        assert_eq!(
            pages,
            [
                (404, NOTHING.to_owned()),
                (404, NOTHING.to_owned()),
                (200, DONE.to_owned())
            ]
        );
    }
}
