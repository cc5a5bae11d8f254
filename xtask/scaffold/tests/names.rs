//! Invalid requests are rejected with a message that says what to do, and nothing is written.

#![allow(clippy::panic, clippy::unwrap_used)]

use std::path::Path;

use scaffold::Tree;
use scaffold::new::{Direction, Request, change};

fn checkout() -> Tree {
    Tree::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
}

fn rejected(request: &Request, expected: &str) {
    let mut tree = checkout();
    let unformatted = |_: &str, content| Ok(content);
    let error = match change(&mut tree, request, Direction::Do, &unformatted) {
        Ok(()) => panic!("{request:?} is accepted"),
        Err(error) => format!("{error:#}"),
    };
    assert!(error.contains(expected), "{request:?}: {error}");
    assert_eq!(tree.changed().unwrap(), Vec::<&str>::new());
}

fn service(name: &str) -> Request {
    Request::Service { name: name.into() }
}

fn resource(name: &str, fields: &[&str], service: &str) -> Request {
    Request::Resource {
        name: name.into(),
        fields: fields.iter().map(|&field| field.into()).collect(),
        service: service.into(),
    }
}

fn route(method: &str, path: &str) -> Request {
    Request::Route {
        method: method.into(),
        path: path.into(),
        service: "notes".into(),
    }
}

fn job(name: &str, every: &str) -> Request {
    Request::Job {
        name: name.into(),
        every: Some(every.into()),
        service: None,
    }
}

#[test]
fn a_service_with_an_invalid_name_is_rejected() {
    for (name, expected) in [
        ("", "must have only letters"),
        ("bücher", "must have only letters"),
        ("2books", "must begin with a letter"),
        ("notes", "there is a service `notes` already"),
        ("xray", "the name of an existing one"),
        ("tokio", "the name of an existing one"),
        ("topics", "a stack with the name of an existing one"),
        ("match", "reserved word of Rust"),
        ("table", "reserved word of DynamoDB"),
        ("outputs", "reserved word of CloudFormation"),
        ("storage", "reserved word of DynamoDB"),
        (
            "a-service-with-a-rather-long-name",
            "the limit is 25, because Lambda and IAM limit",
        ),
        ("museum", "a word of the generator's templates"),
        ("payments", "there is a route group `payments` already"), // part: billing
    ] {
        rejected(&service(name), expected);
    }
}

#[test]
fn a_resource_with_an_invalid_name_field_or_service_is_rejected() {
    let fields = &["title:string:required"][..];
    for (name, fields, service, expected) in [
        (
            "books",
            fields,
            "films",
            "there is no service `films`; the services are ",
        ),
        ("notes", fields, "notes", "there is a table Notes already"),
        (
            "attachments",
            fields,
            "notes",
            "there is a table Attachments already",
        ),
        ("values", fields, "notes", "reserved word of DynamoDB"),
        // part: billing {
        (
            "payments",
            fields,
            "notes",
            "there is a route group `payments` already",
        ),
        // part: billing }
        ("long-book-reviews", fields, "notes", "the limit is 25"),
        ("sheep", fields, "notes", "no plural that differs"),
        ("books", &[], "notes", "needs at least one required field"),
        (
            "books",
            &["year:integer:required"],
            "notes",
            "reserved word of DynamoDB",
        ),
        (
            "books",
            &["loop:integer:required"],
            "notes",
            "reserved word of Rust",
        ),
        (
            "books",
            &["title:text:required"],
            "notes",
            "unknown type `text`",
        ),
        ("books", &["title"], "notes", "needs a type"),
        (
            "books",
            &["title:string:required", "title:date"],
            "notes",
            "given twice",
        ),
        (
            "books",
            &["title:string:required:max=100001"],
            "notes",
            "from 1 to 100000",
        ),
        (
            "books",
            &["accession:string:required"],
            "notes",
            "a word of the generator's templates",
        ),
        (
            "books",
            &["label:string:required:default=A museum"],
            "notes",
            "a word of the generator's templates",
        ),
    ] {
        rejected(&resource(name, fields, service), expected);
    }
}

#[test]
fn a_ninth_route_of_a_group_is_rejected_with_the_limit() {
    let unformatted = |_: &str, content| Ok(content);
    let mut tree = checkout();
    let mut generate = |request: &Request| {
        let mut changed = tree.clone();
        change(&mut changed, request, Direction::Do, &unformatted)
            .map(|()| tree = changed)
            .map_err(|error| format!("{error:#}"))
    };
    generate(&service("books")).unwrap();
    let route = |number: usize| Request::Route {
        method: "GET".into(),
        path: format!("/books/{}", "x".repeat(number)),
        service: "books".into(),
    };
    let too_many = "the route group `books` would have 9 routes; the limit is 8";
    for number in 1..=4 {
        generate(&route(number)).unwrap();
    }
    // The routes of a resource are a group of its own, unless it has the name of the service.
    let title = &["title:string:required"];
    generate(&resource("movies", title, "books")).unwrap();
    let error = generate(&resource("books", title, "books")).unwrap_err();
    assert!(error.contains(too_many), "{error}");
    for number in 5..=8 {
        generate(&route(number)).unwrap();
    }
    let error = generate(&route(9)).unwrap_err();
    assert!(error.contains(too_many), "{error}");
    generate(&route(8)).unwrap();
}

#[test]
fn the_first_route_of_an_existing_service_gives_its_group_an_objective() {
    let unformatted = |_: &str, content| Ok(content);
    let mut tree = checkout();
    let request = Request::Route {
        method: "POST".into(),
        path: "/notify/test".into(),
        service: "notify".into(),
    };
    let objectives = |tree: &Tree| {
        let manifest = tree.text("serverless.yml").unwrap().unwrap();
        manifest.matches("      notify: { availability: ").count()
    };
    change(&mut tree, &request, Direction::Do, &unformatted).unwrap();
    assert_eq!(objectives(&tree), 3); // in local, dev and prod
    change(
        &mut tree,
        &route("POST", "/notes/test"),
        Direction::Do,
        &unformatted,
    )
    .unwrap();
    change(&mut tree, &request, Direction::Undo, &unformatted).unwrap();
    assert_eq!(objectives(&tree), 0);
    change(
        &mut tree,
        &route("POST", "/notes/test"),
        Direction::Undo,
        &unformatted,
    )
    .unwrap();
    assert_eq!(tree.changed().unwrap(), Vec::<&str>::new());
}

#[test]
fn an_invalid_route_job_or_subscriber_is_rejected() {
    rejected(
        &route("PATCH", "/notes/{id}"),
        "must be GET, POST, PUT or DELETE",
    );
    rejected(&route("GET", "books"), "must begin with a slash");
    rejected(&route("GET", "/notes//x"), "is malformed");
    rejected(
        &route("GET", "/notes/{name}"),
        "there is a route GET /notes/{id} already",
    );
    // part: billing {
    rejected(
        &route("GET", "/billing/plans"),
        "the service billing-api has the routes under /billing",
    );
    // part: billing }
    rejected(&job("cleanup", "30s"), "no shorter pauses than a minute");
    rejected(&job("cleanup", "0m"), "for example `5m`");
    rejected(&job("notes", "5m"), "there is a service `notes` already");
    let subscriber = Request::Subscriber {
        name: "receipts".into(),
        topic: Some("orders".into()),
        service: None,
    };
    rejected(&subscriber, "there is no topic `orders`");
    let field = Request::Field {
        field: "title:string".into(),
        resource: "notes".into(),
    };
    rejected(&field, "has generated no resource `notes`");
}
