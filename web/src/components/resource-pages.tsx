import { type ReactNode, useEffect, useRef, useState } from "react";
import { Link, Route, Switch, useLocation } from "wouter";
import { Problem } from "../api/problem.ts";
import {
  createItem,
  deleteItem,
  firstPage,
  getItem,
  type Item,
  type ItemVersion,
  idOf,
  listItems,
  type Resource,
  updateItem,
} from "../api/resource.ts";
import { describe, type FieldValue, labelOf, toText, toValue } from "../fields.ts";
import { formatDate, formatDateTime } from "../format.ts";
import { usePages } from "../hooks/use-pages.ts";
import { useSubmit } from "../hooks/use-submit.ts";
import { clearIdempotencyKey, idempotencyKey } from "../idempotency.ts";
import { useUser } from "../user.ts";
import { useAnnounce } from "./announcer.tsx";
import { Dialog } from "./dialog.tsx";
import { FailureMessage } from "./failure-message.tsx";
import { Form } from "./form.tsx";
import { ListEnd } from "./list-end.tsx";
import { Loading } from "./loading.tsx";
import { Page } from "./page.tsx";
import { Submit } from "./submit.tsx";
import { ValueField } from "./value-field.tsx";

type Values = Record<string, FieldValue>;

/** The pages of a resource: the list, the form that creates an item, and the form that changes one. */
export function ResourcePages({ resource }: { resource: Resource }) {
  const { path, one, many } = resource;
  const form = (title: string, children: ReactNode) => (
    <Page title={labelOf(title)}>
      <p className="back">
        <Link href={path}>All {many}</Link>
      </p>
      {children}
    </Page>
  );
  return (
    <Switch>
      <Route path={path}>
        <List resource={resource} />
      </Route>
      <Route path={`${path}/new`}>{form(`new ${one}`, <ItemForm resource={resource} />)}</Route>
      <Route path={`${path}/:id`}>
        {({ id }) => form(one, <ExistingItem key={id} resource={resource} id={decodeURIComponent(id ?? "")} />)}
      </Route>
    </Switch>
  );
}

function List({ resource }: { resource: Resource }) {
  const { path, one, many, fields } = resource;
  const pages = usePages(listItems, firstPage(resource));
  const { items } = pages;
  const [title = resource.id, ...others] = Object.keys(fields);
  const text = (item: Item, name: string) => describe(fields[name]?.kind ?? "text", item[name]);
  const create = (
    <Link href={`${path}/new`} className="button primary">
      New {one}
    </Link>
  );
  return (
    <Page title={labelOf(many)} action={items && items.length > 0 && create}>
      {items?.length === 0 && (
        <div className="empty">
          <p>You have no {many} yet.</p>
          {create}
        </div>
      )}
      {items && items.length > 0 && (
        <ul className="notes">
          {items.map((item) => (
            <li key={idOf(resource, item)}>
              <Link href={`${path}/${idOf(resource, item)}`} className="note">
                <span className="note-title">{text(item, title)}</span>
                <span className="note-excerpt">
                  {others.map((name) => `${labelOf(name)}: ${text(item, name)}`).join(" · ")}
                </span>
                <span className="note-facts">
                  <time dateTime={new Date(item.updatedAt).toISOString()}>{formatDate(item.updatedAt)}</time>
                </span>
              </Link>
            </li>
          ))}
        </ul>
      )}
      <ListEnd {...pages} />
    </Page>
  );
}

function ExistingItem({ resource, id }: { resource: Resource; id: string }) {
  const [version, setVersion] = useState<ItemVersion | "not found">();
  const { failure, submit: load } = useSubmit(async () => {
    const result = await getItem(resource, id).catch((error: unknown) => {
      if (error instanceof Problem && error.status === 404) return "not found" as const;
      throw error;
    });
    setVersion(result);
  });
  // biome-ignore lint/correctness/useExhaustiveDependencies: each item has its own `key`, so it is loaded once
  useEffect(() => void load(), []);

  if (version === "not found") return <p>This {resource.one} does not exist. It may have been deleted.</p>;
  if (version) return <ItemForm resource={resource} version={version} />;
  if (failure === undefined) return <Loading />;
  return (
    <>
      <FailureMessage failure={failure} />
      <button type="button" className="button" onClick={load}>
        Try again
      </button>
    </>
  );
}

/** The form that changes an item. Without `version` it creates one. */
function ItemForm({ resource, version }: { resource: Resource; version?: ItemVersion }) {
  const { path, fields } = resource;
  const id = version && idOf(resource, version.item);
  const form = `${path}:${id ?? "new"}:${useUser().id}`;
  const [texts, setTexts] = useState(() => textsOf(resource, version?.item));
  const [etag, setEtag] = useState(version?.etag);
  const [theirs, setTheirs] = useState<ItemVersion>();
  const [, navigate] = useLocation();
  const announce = useAnnounce();
  const values = (): Values =>
    Object.fromEntries(Object.entries(fields).map(([name, { kind }]) => [name, toValue(kind, texts[name] ?? "")]));

  const { busy, failure, submit } = useSubmit(async (ifMatch: string | undefined) => {
    if (id === undefined || ifMatch === undefined) {
      await createItem(resource, values(), idempotencyKey(form, values()));
      clearIdempotencyKey(form);
      announce("Saved.");
      return navigate(path);
    }
    const saved = await updateOrFetchConflict(resource, id, values(), ifMatch);
    if (typeof saved !== "string") return setTheirs(saved);
    setEtag(saved);
    setTheirs(undefined);
    announce("Saved.");
  });

  if (theirs)
    return (
      <Conflict resource={resource} mine={values()} theirs={theirs.item}>
        <button type="button" className="button primary" disabled={busy} onClick={() => submit(theirs.etag)}>
          Keep my version
        </button>
        <button
          type="button"
          className="button"
          disabled={busy}
          onClick={() => {
            setTexts(textsOf(resource, theirs.item));
            setEtag(theirs.etag);
            setTheirs(undefined);
          }}
        >
          Use other version
        </button>
        <FailureMessage failure={failure} />
      </Conflict>
    );
  return (
    <Form onSubmit={() => submit(etag)}>
      {Object.entries(fields).map(([name, field]) => (
        <ValueField
          key={name}
          name={name}
          {...field}
          text={texts[name] ?? ""}
          onChange={(text) => setTexts((now) => ({ ...now, [name]: text }))}
        />
      ))}
      <FailureMessage failure={failure} />
      <div className="actions">
        <Submit busy={busy}>Save</Submit>
        {id !== undefined && <DeleteItem resource={resource} id={id} />}
      </div>
    </Form>
  );
}

const textsOf = ({ fields }: Resource, item?: Item): Record<string, string> =>
  Object.fromEntries(Object.entries(fields).map(([name, { kind }]) => [name, toText(kind, item?.[name])]));

/**
 * Updates the item, and returns its new ETag. If it was changed elsewhere, returns the current version instead.
 *
 * A retry after a lost response conflicts with its own first attempt. The current version equals the values then, and the item
 * counts as saved.
 */
async function updateOrFetchConflict(resource: Resource, id: string, values: Values, ifMatch: string) {
  try {
    return await updateItem(resource, id, values, ifMatch);
  } catch (error) {
    if (!(error instanceof Problem && error.status === 412)) throw error;
    const version = await getItem(resource, id);
    const isSame = Object.keys(values).every((name) => values[name] === (version.item[name] ?? null));
    return isSame ? version.etag : version;
  }
}

interface ConflictProps {
  resource: Resource;
  mine: Values;
  theirs: Item;
  children: ReactNode;
}

/** Shows both versions of an item that was changed here and elsewhere. The user chooses one. */
function Conflict({ resource, mine, theirs, children }: ConflictProps) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => heading.current?.focus(), []);
  const { one, fields } = resource;
  return (
    <section className="conflict">
      <h2 ref={heading} tabIndex={-1}>
        This {one} was changed elsewhere
      </h2>
      <p>It was saved in another tab or on another device. Which version do you want to keep?</p>
      <table>
        <thead>
          <tr>
            <th scope="col">Field</th>
            <th scope="col">Your version, not saved yet</th>
            <th scope="col">Other version, saved {formatDateTime(theirs.updatedAt)}</th>
          </tr>
        </thead>
        <tbody>
          {Object.entries(fields).map(([name, { kind }]) => (
            <tr key={name}>
              <th scope="row">{labelOf(name)}</th>
              <td>{describe(kind, mine[name])}</td>
              <td>{describe(kind, theirs[name])}</td>
            </tr>
          ))}
        </tbody>
      </table>
      <div className="actions">{children}</div>
    </section>
  );
}

/** The button that deletes an item, after a confirmation. */
function DeleteItem({ resource, id }: { resource: Resource; id: string }) {
  const { path, one } = resource;
  const [confirming, setConfirming] = useState(false);
  const [, navigate] = useLocation();
  const announce = useAnnounce();
  const { busy, failure, submit } = useSubmit(async () => {
    await deleteItem(resource, id);
    announce(`${labelOf(one)} deleted.`);
    // Replaces the history entry, so that going back does not lead to the deleted item.
    navigate(path, { replace: true });
  });
  return (
    <>
      <button type="button" className="button danger" onClick={() => setConfirming(true)}>
        Delete
      </button>
      {confirming && (
        <Dialog title={`Delete this ${one}?`} onClose={() => setConfirming(false)}>
          <p>This deletes the {one} permanently.</p>
          <FailureMessage failure={failure} />
          <div className="actions">
            <button type="button" className="button danger" disabled={busy} onClick={submit}>
              Delete {one}
            </button>
            <button type="button" className="button quiet" disabled={busy} onClick={() => setConfirming(false)}>
              Cancel
            </button>
          </div>
        </Dialog>
      )}
    </>
  );
}
