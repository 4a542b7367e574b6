//! Any bytes are read as a head without a panic. actix-http reads each head that the fast path knows in the same way; and the fast path waits for the
//! rest of a head of which it has only the beginning.
#![no_main]

use std::cell::RefCell;
use std::mem::MaybeUninit;

use actix_http::HttpMessage as _;
use actix_http::h1::{Codec, Message, MessageType};
use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use tokio::runtime::{Builder, Runtime};
use tokio::task::LocalSet;
use tokio_util::codec::Decoder;
use waypost_head::{HEADERS_MAX, Head, read};

thread_local! {
    // actix-http sets a timer for its dates.
    static RUNTIME: RefCell<(LocalSet, Runtime)> =
        RefCell::new((LocalSet::new(), Builder::new_current_thread().enable_time().build().expect("a runtime")));
}

fuzz_target!(|bytes: &[u8]| {
    let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let (Head::Plain(plain), parsed) = read(bytes, &mut headers) else { return };
    assert!(plain.length <= bytes.len());
    assert_eq!(plain.target.trim_start_matches('/').split('?').next(), Some(plain.code));

    let mut codec = RUNTIME.with_borrow(|(local, runtime)| local.block_on(runtime, async { Codec::default() }));
    let mut buffer = BytesMut::from(bytes);
    let Ok(Some(Message::Item(request))) = codec.decode(&mut buffer) else { panic!("actix-http does not read it") };
    assert_eq!(bytes.len() - buffer.len(), plain.length);
    assert_eq!(*request.method(), plain.method);
    assert_eq!(request.uri().to_string(), plain.target);
    assert_eq!(codec.keep_alive(), !plain.closes);
    assert!(matches!(codec.message_type(), MessageType::None), "it has a body");
    // The same headers: each value, in its order among those of its name.
    assert_eq!(request.headers().len(), parsed.iter().count());
    for name in request.headers().keys() {
        let theirs = request.headers().get_all(name).map(|value| value.as_bytes());
        let ours = parsed.iter().filter(|(own, _)| own.eq_ignore_ascii_case(name.as_str())).map(|(_, value)| value);
        assert!(theirs.eq(ours), "{name}");
    }

    // What is not complete is waited for.
    let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let cut = usize::from(bytes.last().copied().unwrap_or_default()) % plain.length;
    assert!(matches!(read(&bytes[..cut], &mut headers).0, Head::Partial));
});
