/** The fields of log lines that contain IDs of items. */
const items = [
  "note_id",
  "purchase_id", // part: billing
];

/**
 * The saved queries of CloudWatch Logs Insights, by name. They read the logs of all functions and the access log of the API. Replace
 * the value of the filter before running one.
 */
export const queries = {
  // The access log has the request too: its line has the members route, latency_ms and integration_status.
  "one request": `fields @timestamp, @log, level, message, method, route, status, duration_ms, latency_ms, user, error
| filter request_id = "REQUEST ID"
| sort @timestamp asc`,
  // The hash is in the line of each request of the user.
  "one user": `fields @timestamp, @log, method, route, status, duration_ms, request_id, ${items.join(", ")}, error
| filter user = "HASH OF THE USER"
| sort @timestamp asc
| limit 1000`,
  // part: billing {
  // A line about several purchases has an array of their IDs.
  "every step of a purchase": `fields @timestamp, @log, level, message, method, route, status, request_id, error
| filter @message like "PURCHASE ID"
| sort @timestamp asc`,
  // part: billing }
};
