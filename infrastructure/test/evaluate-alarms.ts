import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { resolve } from "node:path";

const root = resolve(import.meta.dirname, "../..");

/** A value of a metric. The dimensions may be functions of CloudFormation, as in the alarms. */
export interface MetricValue {
  namespace: string;
  name: string;
  dimensions: Record<string, unknown>;
  /** Minutes. */
  at: number;
  value: number;
}

/** The states of alarms, and the e-mails that they sent. */
export interface Evaluation {
  states: Record<string, "OK" | "ALARM" | "INSUFFICIENT_DATA">;
  actions: { at: number; alarm: string; state: string }[];
}

/**
 * Evaluates alarms on metrics with the rules of CloudWatch, minute by minute until the minute `at`.
 *
 * @param alarms the properties of AWS::CloudWatch::Alarm and AWS::CloudWatch::CompositeAlarm
 */
export function evaluate(alarms: unknown[], metrics: MetricValue[], at: number): Evaluation {
  const evaluator = spawnSync(resolve(root, ".venv/bin/python"), ["local/cloud/alarms.py"], {
    cwd: root,
    input: JSON.stringify({ alarms, metrics, at }),
    encoding: "utf8",
    maxBuffer: 64 * 1024 * 1024,
  });
  assert.equal(evaluator.status, 0, evaluator.error?.message ?? evaluator.stderr);
  return JSON.parse(evaluator.stdout);
}
