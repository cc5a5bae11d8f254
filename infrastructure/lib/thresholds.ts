import { tables } from "./stage.ts";

/** A row of the table `alarms` in the root serverless.yml. */
export interface Threshold {
  /** The value from which on the alarm fires. */
  threshold: number;
  /** The number of minutes whose values are combined. */
  minutes: number;
  /** The number of consecutive periods of these minutes that must reach the threshold. */
  periods: number;
  /** The percentage of the requests that must be reached, too. */
  percent?: number;
}

/** A row of the table `burnRates`. */
export interface BurnRate {
  /** How many times faster than allowed the error budget is used up. */
  rate: number;
  /** The windows, in minutes. */
  long: number;
  short: number;
}

type Kind =
  | "errors"
  | "throttles"
  | "lag"
  | "deadLetters"
  | "gatewayErrors"
  | MoneyKind // part: billing
  | "refusedRequests"
  | "tableThrottles";

// part: billing {
type MoneyKind =
  | "rejectedEvents"
  | "stripeKey"
  | "surplusCharges"
  | "pendingPurchases"
  | "reconcileErrors"
  | "reconcileStopped"
  | "sms" // part: notify
  | "declines";
// part: billing }

const { alarms, burnRates: rates, minimumBadRequests: minimum } = tables();

export const thresholds: Record<Kind, Threshold> = alarms;
export const burnRates: BurnRate[] = rates;

/** The number of bad requests from which on a long window counts. */
export const minimumBadRequests: number = minimum;
