//! The 64-bit hashes of codes and URLs. Stored records and the choice of a shard depend on them, so they must never change.

/// The first eight bytes, little endian, of blake3(domain as u32 little endian ‖ bytes).
pub(crate) fn hash64(domain: u32, bytes: &[u8]) -> u64 {
    let mut buffer = [0u8; 68];
    if bytes.len() <= 64 {
        buffer[..4].copy_from_slice(&domain.to_le_bytes());
        buffer[4..4 + bytes.len()].copy_from_slice(bytes);
        first64(blake3::hash(&buffer[..4 + bytes.len()]).as_bytes())
    } else {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&domain.to_le_bytes()).update(bytes);
        first64(hasher.finalize().as_bytes())
    }
}

pub(crate) fn first64(bytes: &[u8; 32]) -> u64 {
    let mut head = [0u8; 8];
    head.copy_from_slice(&bytes[..8]);
    u64::from_le_bytes(head)
}
