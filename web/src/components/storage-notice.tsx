import type { ComponentType } from "react";
import type { Storage } from "../api/storage.ts";
import { formatCount, formatNumber } from "../format.ts";
import { BuyStorage } from "./buy-storage.tsx"; // part: billing

interface Props {
  storage: Pick<Storage, "used" | "allowed">;
  /** The path to which the user returns. */
  to?: string;
}

/** What a user whose storage is full can do besides deleting notes. */
const OFFERS: ComponentType<{ to: string | undefined }>[] = [
  BuyStorage, // part: billing
];

/** What a user whose storage is full has to do before saving a new note. */
const MAKE_ROOM = "buy storage or delete a note"; // part: billing
// part: without billing {
// const MAKE_ROOM = "delete a note";
// part: without billing }

/** Says that the storage is full or almost full, and what to do. Shows nothing if there is enough storage. */
export function StorageNotice({ storage, to }: Props) {
  if (!isLow(storage)) return null;
  const left = storage.allowed - storage.used;
  return (
    <div className="notice" role="status">
      <p>
        {left > 0 ? "Your storage is almost full" : "Your storage is full"}: {usage(storage)}.
        {left <= 0 && ` To save a new note, ${MAKE_ROOM}.`}
      </p>
      <Offers to={to} />
    </div>
  );
}

/** Says that a note was not saved because the storage is full. */
export function StorageFull({ storage, to }: Props) {
  return (
    <div className="notice" role="alert">
      <p>
        This note is not saved yet, because your storage is full: {usage(storage)}. To save it, first {MAKE_ROOM}. Your
        text and your file stay here.
      </p>
      <Offers to={to} />
    </div>
  );
}

const Offers = ({ to }: { to: string | undefined }) => OFFERS.map((Offer) => <Offer key={Offer.name} to={to} />);

/** "97 of 100 notes" */
export const usage = ({ used, allowed }: Pick<Storage, "used" | "allowed">) =>
  `${formatNumber(used)} of ${formatCount(allowed, "note")}`;

/** Whether at most 10 notes are left, and at most a tenth of the storage. */
export const isLow = ({ used, allowed }: Pick<Storage, "used" | "allowed">) =>
  allowed - used <= Math.min(10, allowed / 10);
