/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The items, in the order of the list.
    pub items: Vec<T>,
    /// Whether the list has items after these.
    pub more: bool,
}

impl<T> Page<T> {
    /// Creates a page of the first `limit` items. `more` becomes true if there are further items.
    pub fn cut(mut items: Vec<T>, limit: usize) -> Self {
        let more = items.len() > limit;
        items.truncate(limit);
        Self { items, more }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_more_only_if_items_were_cut_off() {
        for (limit, items, more) in [(2, vec![1, 2], true), (3, vec![1, 2, 3], false)] {
            assert_eq!(Page::cut(vec![1, 2, 3], limit), Page { items, more });
        }
    }
}
