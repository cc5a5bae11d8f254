//! Removes parts from the checkout in the current folder.

fn main() -> anyhow::Result<()> {
    let names: Vec<_> = std::env::args().skip(1).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let mut tree = scaffold::Tree::open(".");
    println!("removed: {:?}", scaffold::parts::remove(&mut tree, &names)?);
    scaffold::format(&mut tree)?;
    scaffold::lock(&mut tree)?;
    println!("{} files changed", tree.changed()?.len());
    tree.apply()
}
