//! Reads the XML of AWS responses.

use std::collections::BTreeMap;

use roxmltree::{Document, Node};

use super::failure::Failure;

/// An XML document.
#[derive(Debug)]
pub(super) struct Xml(String);

impl Xml {
    /// Checks that a text is XML.
    ///
    /// # Errors
    /// Fails if the text is not XML.
    pub(super) fn parse(text: String) -> Result<Self, Failure> {
        match Document::parse(&text) {
            Ok(_) => Ok(Self(text)),
            Err(_) => Err(Failure::new("the response is not XML")),
        }
    }

    /// The text of the first element with the name `name`. `None` if the document has no such element.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.texts(name).into_iter().next()
    }

    /// The text of each element with the name `name`.
    pub(super) fn texts(&self, name: &str) -> Vec<String> {
        self.elements(name, |node| {
            node.text().unwrap_or_default().trim().to_owned()
        })
    }

    /// For each element with the name `name`, the texts of its children. The keys are the names of the children.
    pub(super) fn records(&self, name: &str) -> Vec<BTreeMap<String, String>> {
        self.elements(name, |node| {
            let children = node.children().filter(Node::is_element);
            let fields = children.map(|child| {
                let text = child.text().unwrap_or_default().trim().to_owned();
                (child.tag_name().name().to_owned(), text)
            });
            fields.collect()
        })
    }

    fn elements<T>(&self, name: &str, read: impl Fn(Node<'_, '_>) -> T) -> Vec<T> {
        let Ok(document) = Document::parse(&self.0) else {
            return Vec::new();
        };
        let elements = document.descendants();
        elements
            .filter(|node| node.is_element() && node.tag_name().name() == name)
            .map(read)
            .collect()
    }
}
