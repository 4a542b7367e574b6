//! Whatever a peer sends is refused or read, and what is read is what was written.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use waypost_transport::Frame;

fuzz_target!(|bytes: &[u8]| {
    let _ = Frame::decode(BytesMut::from(bytes));
    // The same with the right checksum, which chance does not find.
    let mut sealed = BytesMut::from(bytes);
    sealed.extend_from_slice(&blake3::hash(bytes).as_bytes()[..8]);
    if let Ok((frame, body)) = Frame::decode(sealed.clone()) {
        let (again, same_body) = Frame::decode(BytesMut::from(&frame.encode(2, &body)[..])).expect("what was written is read");
        assert_eq!((frame, body), (again, same_body));
    }
});
