//! The memory that a node may take: `"auto"`, `"off"`, or a size.

use std::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::bytes::ByteSize;

/// How much memory a node may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryBudget {
    /// As much as its control group, or the machine, has.
    Auto,
    /// As much as it wants: memory is not guarded.
    Off,
    /// So many bytes.
    Bytes(u64),
}

impl Serialize for MemoryBudget {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::Off => serializer.serialize_str("off"),
            Self::Bytes(bytes) => ByteSize(*bytes).serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for MemoryBudget {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Budget;
        impl Visitor<'_> for Budget {
            type Value = MemoryBudget;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"auto\", \"off\" or a size like \"2GiB\"")
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<MemoryBudget, E> {
                u64::try_from(number).map(MemoryBudget::Bytes).map_err(|_| E::custom("a size cannot be negative"))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<MemoryBudget, E> {
                Ok(MemoryBudget::Bytes(number))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<MemoryBudget, E> {
                match text {
                    "auto" => Ok(MemoryBudget::Auto),
                    "off" => Ok(MemoryBudget::Off),
                    _ => ByteSize::parse(text).map(|ByteSize(bytes)| MemoryBudget::Bytes(bytes)).ok_or_else(|| {
                        E::custom(format!(
                            "\"{text}\" is not possible; write \"auto\", \"off\" or a size like \"2GiB\""
                        ))
                    }),
                }
            }
        }
        deserializer.deserialize_any(Budget)
    }
}
