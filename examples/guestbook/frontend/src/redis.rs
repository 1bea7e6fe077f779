//! The two things that the guestbook asks of redis, in its protocol (RESP 2): append to a list, and read it.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::timeout,
};

const LIST: &str = "guestbook";
/// So long redis may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// A reply of redis, as far as this program meets them.
#[derive(Debug, PartialEq, Eq)]
enum Reply {
    Number(i64),
    Texts(Vec<String>),
}

/// Appends an entry.
pub(crate) async fn add(server: &str, entry: &str) -> Result<()> {
    let length = ask(server, &["RPUSH", LIST, entry]).await?;
    ensure!(matches!(length, Reply::Number(1..)), "redis at {server} did not take the entry");
    Ok(())
}

/// All entries, the oldest first.
pub(crate) async fn entries(server: &str) -> Result<Vec<String>> {
    match ask(server, &["LRANGE", LIST, "0", "-1"]).await? {
        Reply::Texts(texts) => Ok(texts),
        Reply::Number(_) => bail!("redis at {server} answered with a number instead of a list"),
    }
}

async fn ask(server: &str, words: &[&str]) -> Result<Reply> {
    let asked = async {
        let mut stream = BufReader::new(TcpStream::connect(server).await?);
        stream.write_all(&request(words)).await?;
        read(&mut stream).await
    };
    timeout(PATIENCE, asked)
        .await
        .with_context(|| format!("redis at {server} does not answer"))?
        .with_context(|| format!("cannot ask redis at {server}"))
}

fn request(words: &[&str]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        out.extend(format!("${}\r\n{word}\r\n", word.len()).into_bytes());
    }
    out
}

async fn read(from: &mut (impl AsyncBufRead + Unpin)) -> Result<Reply> {
    let head = line(from).await?;
    match head.split_at_checked(1) {
        Some((":", number)) => Ok(Reply::Number(number.parse().context("not a number")?)),
        Some(("-", error)) => bail!("redis refuses: {error}"),
        Some(("*", count)) => {
            let mut texts = Vec::new();
            for _ in 0..count.parse::<u32>().context("not a count")? {
                texts.push(text(from).await?);
            }
            Ok(Reply::Texts(texts))
        }
        _ => bail!("an answer that this program does not expect: {head:?}"),
    }
}

async fn text(from: &mut (impl AsyncBufRead + Unpin)) -> Result<String> {
    let head = line(from).await?;
    let length = head.strip_prefix('$').with_context(|| format!("not a text: {head:?}"))?;
    let mut bytes = vec![0; length.parse::<usize>().context("not a length")? + 2];
    from.read_exact(&mut bytes).await.context("an answer ends in the middle")?;
    bytes.truncate(bytes.len() - 2);
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

async fn line(from: &mut (impl AsyncBufRead + Unpin)) -> Result<String> {
    let mut line = String::new();
    from.read_line(&mut line).await.context("cannot read an answer")?;
    let whole = line.strip_suffix("\r\n").context("an answer ends in the middle")?;
    Ok(whole.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(answer: &str, expect: Option<&Reply>) {
        let mut bytes = answer.as_bytes();
        let read = futures::executor::block_on(read(&mut bytes));
        assert_eq!(read.ok().as_ref(), expect, "{answer:?}");
    }

    #[test]
    fn answers_are_numbers_or_lists_of_texts() {
        check(":3\r\n", Some(&Reply::Number(3)));
        check("*0\r\n", Some(&Reply::Texts(vec![])));
        check("*2\r\n$1\r\na\r\n$3\r\n\r\nb\r\n", Some(&Reply::Texts(vec!["a".into(), "\r\nb".into()])));
        check("-LOADING\r\n", None);
        check("*1\r\n$5\r\nab", None);
    }

    #[test]
    fn a_request_is_a_list_of_texts() {
        assert_eq!(request(&["A", "bc"]), b"*2\r\n$1\r\nA\r\n$2\r\nbc\r\n");
    }
}
