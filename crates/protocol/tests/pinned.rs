//! Functions on which stored data depends, pinned by known values. The values were computed by another implementation of BLAKE3 and
//! of what is described here, so they also say what is meant.

use waypost_protocol::digest::{IdempotencyKey, KeyDigest, UrlDigest, fingerprint};
use waypost_protocol::ids::shard_of_hash;
use waypost_protocol::permutation::{CODES, Permutation};
use waypost_protocol::{Code, Domain, KeyHash, LinkKey, ShardId, open, seal};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_hash_of_a_key_is_the_first_64_bits_of_blake3_of_its_domain_and_code() {
    let code = Code::parse_slug("spring-sale").unwrap();
    let key = |domain| LinkKey { domain: Domain(domain), code: code.clone() };
    assert_eq!(key(0).hash(), KeyHash(0x98e2_4dd3_5f2b_0954));
    assert_eq!(key(7).hash(), KeyHash(0xe8ed_dc15_3ec7_0109));
    assert_eq!(LinkKey::new(code.clone()), key(0));
}

#[test]
fn the_digest_of_a_url_is_the_same_for_short_and_long_ones() {
    // 64 bytes are hashed from a buffer, 65 by the incremental hasher.
    assert_eq!(UrlDigest::of(Domain(0), &"x".repeat(64)), UrlDigest(0x77bf_cda4_c22a_407e));
    assert_eq!(UrlDigest::of(Domain(0), &"x".repeat(65)), UrlDigest(0x0f02_1976_437e_ad4b));
    let long = format!("https://example.com/{}", "y".repeat(100));
    assert_eq!(UrlDigest::of(Domain(3), &long), UrlDigest(0x7e85_bb1a_c951_8556));
}

#[test]
fn a_shard_is_the_upper_half_of_the_hash_modulo_the_number_of_shards() {
    let hash = 0x98e2_4dd3_5f2b_0954;
    for (shards, shard) in [(1, 0), (16, 3), (256, 211)] {
        assert_eq!(shard_of_hash(hash, shards), ShardId(shard));
        assert_eq!(KeyHash(hash).shard(shards), ShardId(shard));
        assert_eq!(UrlDigest(hash).shard(shards), ShardId(shard));
        assert_eq!(ShardId(shard).index(), shard as usize);
    }
    let key = LinkKey::new(Code::parse_slug("spring-sale").unwrap());
    assert_eq!(key.shard(256), ShardId(211));
    // No shards is no reason to divide by zero.
    assert_eq!(shard_of_hash(hash, 0), ShardId(0));
}

#[test]
fn a_fingerprint_depends_on_each_part_and_where_it_ends() {
    assert_eq!(fingerprint(&[b"ab", b"c"]), 0xbdc7_3f4f_018c_96a0);
    assert_eq!(fingerprint(&[b"a", b"bc"]), 0xbecd_9424_3e18_5e40);
    assert_eq!(fingerprint(&[]), 0xa6a1_f9f5_b949_13af);
}

#[test]
fn an_idempotency_key_belongs_to_its_owner() {
    assert_eq!(hex(&IdempotencyKey::of(0, "key-1").0), "bff0d766805489ec73b155802ab7b10e");
    assert_eq!(hex(&IdempotencyKey::of(5, "key-1").0), "33cb80b3624f49b8054d1c0bc62e8905");
}

#[test]
fn a_key_matches_its_own_digest_and_no_other() {
    let digest = KeyDigest::of("secret");
    assert_eq!(hex(&digest.0), "5fbf08af2b116ab8f7f3c14b8ec01a46ce23d290e2ebc7a752d0982d54c054f2");
    assert!(digest.matches(&KeyDigest::of("secret")));
    assert!(!digest.matches(&KeyDigest::of("Secret")));
    let mut nearly = digest;
    nearly.0[31] ^= 1;
    assert!(!digest.matches(&nearly));
}

#[test]
fn counters_become_the_codes_that_they_have_always_become() {
    let ascending = std::array::from_fn(|at| at as u8);
    let known = [
        ([7; 32], ["1VQcVQY", "zEsHvV5", "9AANoCg", "LOk4YCP", "npNeroj"]),
        (ascending, ["cRei5fM", "JfzpGbr", "LYaT4rR", "fgSreGc", "fkGkMVV"]),
    ];
    for (key, codes) in known {
        let permutation = Permutation::new(key);
        for (counter, expected) in [0, 1, 2, 4096, CODES - 1].into_iter().zip(codes) {
            let code = permutation.code(counter).unwrap();
            assert_eq!(code.as_str(), expected);
            assert_eq!(permutation.counter(&code), Some(counter));
        }
        assert_eq!(permutation.code(CODES), None);
    }
}

#[test]
fn a_permutation_does_not_show_its_key() {
    let shown = format!("{:?}", Permutation::new([7; 32]));
    assert!(shown.contains("Permutation") && shown.contains(&CODES.to_string()) && !shown.contains("key"), "{shown}");
}

#[test]
fn an_envelope_is_version_payload_and_the_first_16_bytes_of_blake3_of_its_place_and_both() {
    for (place, version, payload, expected) in [
        (&b"k"[..], 1, &b"v"[..], "01763ca010286e765565aadae557d0a46996"),
        (b"sm/1/m", 2, b"", "0221da4e90e3ceface500f28ab66c10f5f"),
    ] {
        let sealed = seal(place, version, payload);
        assert_eq!(hex(&sealed), expected);
        assert_eq!(open(place, &sealed), Ok((version, payload)));
    }
}
