//! An operation, as the table of routes names it.

/// An operation of the public listener.
pub(in crate::http) struct Operation {
    /// The path, with its parameters in braces.
    pub(in crate::http) path: &'static str,
    /// The method in lower case. `get` stands for `head`, too.
    pub(in crate::http) method: &'static str,
    /// The names of the problems that it may be answered with, beyond those of every operation.
    #[cfg_attr(not(test), expect(dead_code, reason = "for the document, which a test makes"))]
    pub(in crate::http) problems: &'static [&'static [&'static str]],
}
