//! Any bytes from a peer are refused or decoded, and a decoded frame encodes to the same bytes.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use waypost_transport::Frame;

fuzz_target!(|bytes: &[u8]| {
    let _ = Frame::decode(BytesMut::from(bytes));
    // The same with a valid checksum, which random bytes do not have.
    let mut sealed = BytesMut::from(bytes);
    sealed.extend_from_slice(&blake3::hash(bytes).as_bytes()[..8]);
    if let Ok((frame, body)) = Frame::decode(sealed.clone()) {
        let (again, same_body) = Frame::decode(BytesMut::from(&frame.encode(2, &body)[..])).expect("what was written is read");
        assert_eq!((frame, body), (again, same_body));
    }
});
