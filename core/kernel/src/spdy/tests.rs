//! Two sides over a pipe.

use futures::{
    AsyncReadExt, AsyncWriteExt,
    executor::block_on,
    future::{join3, select},
    join,
};

use super::{pipe::pipe, *};

/// Runs a story between a client and a server over a narrow pipe, with both drivers beside it.
fn check<F: Future<Output = ()>>(story: impl FnOnce(Connection, Connection) -> F) {
    let (near, far) = pipe(1000);
    let (client, client_driver) = Connection::new(near, Role::Client);
    let (server, server_driver) = Connection::new(far, Role::Server);
    let (_, near, far) = block_on(join3(story(client, server), client_driver, server_driver));
    drop((near, far));
}

async fn pair(client: &Connection, server: &Connection) -> (Stream, Stream) {
    let (opened, accepted) = join!(client.open(&Headers::of(&[("streamType", "data")])), server.accept());
    (opened.unwrap(), accepted.unwrap())
}

#[test]
fn a_stream_carries_far_more_than_a_window_both_ways() {
    check(|client, server| async move {
        let (opened, accepted) = pair(&client, &server).await;
        let sent: Vec<u8> = (0..300_000u32).map(|n| (n % 251) as u8).collect();
        let talk = |stream: Stream| {
            let sent = sent.clone();
            async move {
                let (mut reader, mut writer) = stream.split();
                let mut heard = Vec::new();
                let write = async {
                    writer.write_all(&sent).await.unwrap();
                    writer.close().await.unwrap();
                };
                join!(write, async { reader.read_to_end(&mut heard).await.unwrap() });
                assert!(heard == sent);
            }
        };
        join!(talk(opened), talk(accepted));
    });
}

#[test]
fn either_side_opens_streams_and_each_sees_its_headers() {
    check(|client, server| async move {
        let (opened, _accepted) = pair(&client, &server).await;
        let (back, forth) = join!(server.open(&Headers::of(&[("port", "80")])), client.accept());
        let (back, forth) = (back.unwrap(), forth.unwrap());
        assert_eq!((opened.id(), back.id(), forth.headers().get("Port")), (1, 2, Some("80")));
    });
}

#[test]
fn the_end_of_one_half_leaves_the_other() {
    check(|client, server| async move {
        let (mut opened, mut accepted) = pair(&client, &server).await;
        opened.close().await.unwrap();
        assert!(opened.write_all(b"late").await.is_err());
        let mut heard = String::new();
        accepted.read_to_string(&mut heard).await.unwrap();
        accepted.write_all(b"answer").await.unwrap();
        accepted.close().await.unwrap();
        opened.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard, "answer");
    });
}

#[test]
fn a_dropped_stream_resets_its_other_end_after_what_was_written() {
    check(|client, server| async move {
        let (mut opened, mut accepted) = pair(&client, &server).await;
        opened.write_all(b"last words").await.unwrap();
        drop(opened);
        let mut heard = Vec::new();
        let error = accepted.read_to_end(&mut heard).await.unwrap_err();
        assert_eq!((heard.as_slice(), error.kind()), (&b"last words"[..], std::io::ErrorKind::ConnectionReset));
        assert!(accepted.write_all(b"x").await.is_err());
    });
}

#[test]
fn a_stream_that_nobody_reads_stops_its_sender_and_no_other_stream() {
    check(|client, server| async move {
        let (mut stuck, unread) = pair(&client, &server).await;
        let (mut quick, mut reader) = pair(&client, &server).await;
        let stuck = async move { stuck.write_all(&vec![0; 10_000_000]).await };
        let others = async {
            for _ in 0..100 {
                quick.write_all(b"ping").await.unwrap();
                let mut heard = [0; 4];
                reader.read_exact(&mut heard).await.unwrap();
            }
        };
        let first = select(Box::pin(stuck), Box::pin(others)).await;
        assert!(matches!(first, futures::future::Either::Right(_)), "the sender did not wait");
        drop(unread);
    });
}

#[test]
fn the_end_of_a_connection_is_the_end_of_everything_on_it() {
    check(|client, server| async move {
        let (mut opened, accepted) = pair(&client, &server).await;
        drop((accepted, server));
        let mut heard = Vec::new();
        assert!(opened.read_to_end(&mut heard).await.is_err());
        assert!(client.accept().await.is_none());
        assert!(client.ended());
        assert!(client.open(&Headers::new()).await.is_err());
    });
}

#[test]
fn a_refused_stream_is_an_error_for_reading_and_writing() {
    check(|client, server| async move {
        let (mut opened, accepted) = pair(&client, &server).await;
        accepted.reset(ResetReason::REFUSED_STREAM);
        assert!(opened.read_to_end(&mut Vec::new()).await.is_err());
        let mut lenient = opened.ends_with_reset();
        assert_eq!(lenient.read_to_end(&mut Vec::new()).await.unwrap(), 0);
    });
}

#[test]
fn nonsense_ends_the_connection_with_an_error() {
    let (near, mut far) = pipe(1000);
    let (client, driver) = Connection::new(near, Role::Client);
    block_on(async {
        far.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        assert!(driver.await.is_err());
    });
    assert!(client.ended());
}
