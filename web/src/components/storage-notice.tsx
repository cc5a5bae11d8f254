import { Link } from "wouter";
import type { Storage } from "../api/storage.ts";
import { formatCount, formatNumber } from "../format.ts";

interface Props {
  storage: Pick<Storage, "used" | "allowed">;
  /** The path to which the user returns after the purchase. */
  to?: string;
}

/** Says that the storage is full or almost full, and offers to buy more. Shows nothing if there is enough storage. */
export function StorageNotice({ storage, to }: Props) {
  if (!isLow(storage)) return null;
  const left = storage.allowed - storage.used;
  return (
    <div className="notice" role="status">
      <p>
        {left > 0 ? "Your storage is almost full" : "Your storage is full"}: {usage(storage)}.
        {left <= 0 && " To save a new note, buy storage or delete a note."}
      </p>
      <BuyStorage to={to} />
    </div>
  );
}

/** Says that a note was not saved because the storage is full. */
export function StorageFull({ storage, to }: Props) {
  return (
    <div className="notice" role="alert">
      <p>
        This note is not saved yet, because your storage is full: {usage(storage)}. Buy storage, and then save the note.
        Your text and your file stay here. You can also delete a note that you no longer need.
      </p>
      <BuyStorage to={to} />
    </div>
  );
}

function BuyStorage({ to }: { to: string | undefined }) {
  return (
    <Link href={to ? `/billing?to=${encodeURIComponent(to)}` : "/billing"} className="button">
      Buy storage
    </Link>
  );
}

/** "97 of 100 notes" */
export const usage = ({ used, allowed }: Pick<Storage, "used" | "allowed">) =>
  `${formatNumber(used)} of ${formatCount(allowed, "note")}`;

/** Whether at most 10 notes are left, and at most a tenth of the storage. */
export const isLow = ({ used, allowed }: Pick<Storage, "used" | "allowed">) =>
  allowed - used <= Math.min(10, allowed / 10);
