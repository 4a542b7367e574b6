//! Enums whose variants have fixed numbers in the log and between nodes, and the outcomes that one command can have.
//!
//! The commands and outcomes of group 0 and of the shards share one series of numbers: version 0.1 had one enum for both. So each
//! variant names its number. A number is never used again.

/// Declares an enum with a number for each variant. It is encoded as that number (varint) and the fields in order, as a derived
/// enum is. A number that is not in the list is refused.
macro_rules! numbered {
    (
        $(#[$meta:meta])*
        $name:ident {
            $(
                $(#[$variant_meta:meta])*
                $number:literal = $variant:ident
                $( ($bind:ident: $type:ty) )?
                $( { $( $(#[$field_meta:meta])* $field:ident: $field_type:ty ),* $(,)? } )?
            ),* $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq)]
        pub enum $name {
            $(
                $(#[$variant_meta])*
                $variant
                $( ($type) )?
                $( { $( $(#[$field_meta])* $field: $field_type ),* } )?
            ),*
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                const NAME: &str = stringify!($name);
                match self {
                    $(
                        Self::$variant $( ($bind) )? $( { $($field),* } )? => {
                            let fields = ( $($bind,)? $( $($field,)* )? );
                            to.serialize_newtype_variant(NAME, $number, stringify!($variant), &fields)
                        }
                    )*
                }
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                struct Visitor;

                impl<'de> serde::de::Visitor<'de> for Visitor {
                    type Value = $name;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str(stringify!($name))
                    }

                    fn visit_enum<A: serde::de::EnumAccess<'de>>(self, from: A) -> Result<$name, A::Error> {
                        use serde::de::{Error as _, VariantAccess as _};
                        match from.variant::<u32>()? {
                            $(
                                ($number, variant) => {
                                    let ( $($bind,)? $( $($field,)* )? ) =
                                        variant.newtype_variant::<( $($type,)? $( $($field_type,)* )? )>()?;
                                    Ok($name::$variant $( ($bind) )? $( { $($field),* } )?)
                                }
                            )*
                            (number, _) => Err(A::Error::custom(format_args!("no variant has the number {number}"))),
                        }
                    }
                }

                from.deserialize_enum(stringify!($name), &[$(stringify!($variant)),*], Visitor)
            }
        }
    };
}

/// Declares the commands of one kind of group: each variant holds the struct of the same name, which converts into the enum.
macro_rules! commands {
    (
        $(#[$meta:meta])*
        $name:ident { $( $(#[$variant_meta:meta])* $number:literal = $command:ident ),* $(,)? }
    ) => {
        numbered! {
            $(#[$meta])*
            $name { $( $(#[$variant_meta])* $number = $command(command: Box<$command>) ),* }
        }

        impl $name {
            const NUMBERS: &'static [u8] = &[$($number),*];
        }

        $(
            impl From<$command> for $name {
                fn from(command: $command) -> Self {
                    Self::$command(Box::new(command))
                }
            }
        )*
    };
}

/// Declares what can come of each command: some of the outcomes of its kind of group.
macro_rules! outcomes {
    (
        $group:ident => $group_outcome:ident;
        $(
            $command:ident => $(#[$meta:meta])* $name:ident {
                $(
                    $(#[$variant_meta:meta])*
                    $variant:ident
                    $( ($bind:ident: $type:ty) )?
                    $( { $( $(#[$field_meta:meta])* $field:ident: $field_type:ty ),* $(,)? } )?
                ),* $(,)?
            }
        )*
    ) => {
        $(
            $(#[$meta])*
            #[derive(Debug, Clone, PartialEq, Eq)]
            pub enum $name {
                $(
                    $(#[$variant_meta])*
                    $variant
                    $( ($type) )?
                    $( { $( $(#[$field_meta])* $field: $field_type ),* } )?
                ),*
            }

            impl From<$name> for $group_outcome {
                fn from(outcome: $name) -> Self {
                    match outcome {
                        $(
                            $name::$variant $( ($bind) )? $( { $($field),* } )? =>
                                Self::$variant $( ($bind) )? $( { $($field),* } )?,
                        )*
                    }
                }
            }

            impl TryFrom<$group_outcome> for $name {
                type Error = $group_outcome;

                fn try_from(outcome: $group_outcome) -> Result<Self, $group_outcome> {
                    match outcome {
                        $(
                            $group_outcome::$variant $( ($bind) )? $( { $($field),* } )? =>
                                Ok(Self::$variant $( ($bind) )? $( { $($field),* } )?),
                        )*
                        other => Err(other),
                    }
                }
            }

            impl crate::command::Command for $command {
                type Group = $group;
                type Outcome = $name;
            }
        )*
    };
}
