/// One page of a list: the items, and whether the list continues after them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The items on the page, in the order of the list.
    pub items: Vec<T>,
    /// Whether the list has items after this page.
    pub more: bool,
}

impl<T> Page<T> {
    /// Creates a page of the first `limit` elements of `items`. Sets `more` if `items` has more
    /// than `limit` elements.
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
    fn more_is_true_only_if_items_are_cut_off() {
        for (limit, items, more) in [(2, vec![1, 2], true), (3, vec![1, 2, 3], false)] {
            assert_eq!(Page::cut(vec![1, 2, 3], limit), Page { items, more });
        }
    }
}
