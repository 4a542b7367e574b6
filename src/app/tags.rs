//! Tags, renamed, merged and removed over all links.

use waypost_protocol::Domain;
use waypost_protocol::listing::LinkFilter;
use waypost_protocol::properties::Tags;

use super::sweep::{Sweep, SweepChange, TagEdit};
use super::{App, ChangeError, LinkEdit, Principal};

impl App {
    /// Begins to put another tag in the place of one, in all links that have it, or in those of a domain; `None` removes it. If a link has the other tag already,
    /// the two are merged. Tags are compared without case, so a tag can also be written differently.
    ///
    /// # Errors
    /// See [`ChangeError`]; `Tags` if one of the texts cannot be a tag.
    pub async fn replace_tag(
        &self,
        principal: &Principal,
        tag: &str,
        with: Option<&str>,
        domain: Option<Domain>,
    ) -> Result<Sweep, ChangeError> {
        let one = |text: &str| {
            let parsed = Tags::parse(&[text]).map_err(ChangeError::Tags)?;
            Ok::<String, ChangeError>(parsed.iter().flat_map(Tags::iter).collect())
        };
        let (tag, with) = (one(tag)?, with.map(one).transpose()?);
        let filter = LinkFilter { tags: vec![tag.clone()], domain, ..LinkFilter::default() };
        let tags = TagEdit { replace: vec![(tag, with)], ..TagEdit::default() };
        let sweep = self.sweep(principal, filter, false, SweepChange::Edit { edit: LinkEdit::default(), tags }).await?;
        Ok(sweep.with_latest())
    }
}
