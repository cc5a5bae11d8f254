// The card field. It sends the card details to the double, never to the page that embeds this frame. The
// page receives only whether the details are complete and valid, and the resulting payment method or token.

const PAGE_ORIGIN = decodeURIComponent(location.hash.slice(1));

const card = document.querySelector("form");
const { cardnumber: number, "exp-date": expiry, cvc, postal } = card.elements;
const digits = (text) => text.replace(/\D/g, "");

const BRANDS = [
  ["visa", /^4/, [16]],
  ["mastercard", /^(5[1-5]|2[2-7])/, [16]],
  ["amex", /^3[47]/, [15]],
  ["discover", /^(6011|64[4-9]|65)/, [16]],
  ["diners", /^36/, [14]],
  ["diners", /^3[089]/, [16]],
  ["jcb", /^35/, [16]],
  ["unionpay", /^62/, [16]],
];

const brand = () => {
  const known = BRANDS.find(([, start]) => start.test(digits(number.value)));
  const [name, , [length]] = known ?? ["unknown", undefined, [16]];
  return { name, length, cvc: name === "amex" ? 4 : 3 };
};

const isLuhnValid = (text) => {
  const sum = [...text].reverse().reduce((sum, digit, at) => {
    const doubled = at % 2 ? digit * 2 : Number(digit);
    return sum + (doubled > 9 ? doubled - 9 : doubled);
  }, 0);
  return sum % 10 === 0;
};

/** The error codes and messages of https://docs.stripe.com/js/appendix/cardelement-errors. */
const MESSAGES = {
  incomplete_number: "Your card number is incomplete.",
  invalid_number: "Your card number is invalid.",
  incomplete_expiry: "Your card's expiration date is incomplete.",
  invalid_expiry_month_past: "Your card's expiration date is in the past.",
  invalid_expiry_year_past: "Your card's expiration year is in the past.",
  invalid_expiry_year: "Your card's expiration year is invalid.",
  incomplete_cvc: "Your card's security code is incomplete.",
  incomplete_zip: "Your postal code is incomplete.",
};

/** For each field, a function that returns the error code of its value, or undefined if it is valid. */
const VALIDATORS = new Map([
  [
    number,
    () => {
      const typed = digits(number.value);
      if (typed.length < brand().length) return "incomplete_number";
      return isLuhnValid(typed) ? undefined : "invalid_number";
    },
  ],
  [
    expiry,
    () => {
      const typed = digits(expiry.value);
      if (typed.length < 4) return "incomplete_expiry";
      const month = Number(typed.slice(0, 2));
      const year = 2000 + Number(typed.slice(2));
      const now = new Date();
      if (month < 1 || month > 12) return "incomplete_expiry";
      if (year < now.getFullYear()) return "invalid_expiry_year_past";
      if (year > now.getFullYear() + 50) return "invalid_expiry_year";
      return year === now.getFullYear() && month <= now.getMonth() ? "invalid_expiry_month_past" : undefined;
    },
  ],
  [cvc, () => (digits(cvc.value).length < brand().cvc ? "incomplete_cvc" : undefined)],
  [
    postal,
    () => {
      // ZIP codes of the United States have five digits.
      const required = !postal.closest("label").hidden;
      return required && digits(postal.value).length < 5 ? "incomplete_zip" : undefined;
    },
  ],
]);

/** For each field, a function that formats its digits. */
const FORMATTERS = new Map([
  [
    number,
    (typed) => {
      const { name, length } = brand();
      const groups = name === "amex" ? /^(\d{1,4})(\d{1,6})?(\d+)?$/ : /(\d{1,4})/g;
      const shown = typed.slice(0, length);
      const parts = name === "amex" ? (groups.exec(shown) ?? []).slice(1) : (shown.match(groups) ?? []);
      return parts.filter(Boolean).join(" ");
    },
  ],
  [
    expiry,
    (typed) => {
      const padded = /^[2-9]/.test(typed) ? `0${typed}` : typed;
      return padded.length > 2 ? `${padded.slice(0, 2)} / ${padded.slice(2, 4)}` : padded;
    },
  ],
  [cvc, (typed) => typed.slice(0, brand().cvc)],
  [postal, (typed) => typed.slice(0, 5)],
]);

const fields = [...VALIDATORS.keys()];
/** The fields that have lost focus since the last input. Only these report that they are incomplete. */
const blurred = new Set();
let port;
let lastChange;
let options = {};

const validationError = (code) => code && { type: "validation_error", code, message: MESSAGES[code] };

/** The error code to show. An incomplete field is an error only after it lost focus or was submitted. */
const visibleError = (field, submitted) => {
  const code = VALIDATORS.get(field)();
  const isHidden = code?.startsWith("incomplete") && !submitted && !(blurred.has(field) && field.value);
  return isHidden ? undefined : code;
};

const emit = (event, detail) => port?.postMessage({ event, detail });

/** Marks invalid fields and emits a change event if the state changed. Returns the first error. */
const validate = (submitted = false) => {
  for (const field of fields) field.setAttribute("aria-invalid", Boolean(visibleError(field, submitted)));
  const error = validationError(fields.map((field) => visibleError(field, submitted)).find(Boolean));
  const change = {
    empty: fields.every((field) => !field.value),
    complete: fields.every((field) => !VALIDATORS.get(field)()),
    brand: brand().name,
    error,
    value: { postalCode: postal.value },
  };
  const serialized = JSON.stringify(change);
  if (serialized !== lastChange) emit("change", change);
  lastChange = serialized;
  return error;
};

/** Formats the value of a field and keeps the caret after the same digit. */
const format = (field) => {
  const atEnd = field.selectionStart === field.value.length;
  const before = digits(field.value.slice(0, field.selectionStart)).length;
  const shown = FORMATTERS.get(field)(digits(field.value));
  if (shown === field.value) return;
  field.value = shown;
  if (atEnd || document.activeElement !== field) return;
  const ends = [...shown].flatMap((character, at) => (/\d/.test(character) ? [at + 1] : []));
  const caret = before ? (ends[before - 1] ?? shown.length) : 0;
  field.setSelectionRange(caret, caret);
};

for (const field of fields) {
  field.addEventListener("input", (event) => {
    blurred.delete(field);
    format(field);
    validate();
    const typed = event.inputType === "insertText" && field.selectionStart === field.value.length;
    const next = fields[fields.indexOf(field) + 1];
    if (typed && !VALIDATORS.get(field)() && next && !next.closest("label").hidden) next.focus();
  });
  field.addEventListener("focus", () => emit("focus"));
  field.addEventListener("blur", ({ relatedTarget }) => {
    blurred.add(field);
    validate();
    if (!relatedTarget) emit("blur");
  });
  field.addEventListener("keydown", ({ key }) => key === "Escape" && emit("escape"));
}
card.addEventListener("submit", (event) => event.preventDefault());

const STYLES = ["color", "font-family", "font-size", "font-style", "font-weight", "letter-spacing", "line-height"];
const hyphenated = (name) => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);

const configure = (newOptions) => {
  options = newOptions ?? {};
  const { base = {}, invalid = {} } = options.style ?? {};
  for (const [name, value] of Object.entries(base)) {
    if (STYLES.includes(hyphenated(name))) card.style.setProperty(hyphenated(name), value);
  }
  const colors = { "--placeholder": base["::placeholder"]?.color, "--invalid": invalid.color };
  for (const [name, value] of Object.entries(colors)) if (value) card.style.setProperty(name, value);
  for (const field of fields) field.disabled = Boolean(options.disabled);
  postal.closest("label").hidden = Boolean(options.hidePostalCode);
  if (options.value?.postalCode) postal.value = options.value.postalCode;
  validate();
};

/** The name-value pairs of form parameters such as `a[b]=c`, without unset values. */
const encode = (data, name = "") =>
  Object.entries(data).flatMap(([key, value]) => {
    const inner = name ? `${name}[${key}]` : key;
    if (value === undefined || value === null) return [];
    return typeof value === "object" ? encode(value, inner) : [[inner, String(value)]];
  });

/** Sends the card to a route of the API. Returns the response, or the validation error of the card. */
const send = async (route, data) => {
  const error = validate(true);
  if (error) return { error };
  const typed = digits(expiry.value);
  const details = {
    number: digits(number.value),
    exp_month: typed.slice(0, 2),
    exp_year: typed.slice(2),
    cvc: digits(cvc.value),
  };
  const zip = postal.closest("label").hidden ? undefined : postal.value;
  const body = { ...data };
  if (route === "tokens") body.card = { address_zip: zip, ...data.card, ...details };
  else {
    const { address, ...contact } = data.billing_details ?? {};
    body.billing_details = { ...contact, address: { postal_code: zip, ...address } };
    body.card = details;
  }
  try {
    const response = await fetch(`/v1/${route}`, { method: "POST", body: new URLSearchParams(encode(body)) });
    return await response.json();
  } catch {
    const message = "An error occurred with our connection to Stripe. Please try again in a moment.";
    return { error: { type: "api_connection_error", message } };
  }
};

/** The functions that the page can call. */
const METHODS = {
  options: configure,
  clear: () => {
    card.reset();
    blurred.clear();
    validate();
  },
  focus: () => (fields.find((field) => VALIDATORS.get(field)()) ?? number).focus(),
  blur: () => document.activeElement?.blur(),
  payment_methods: (data) => send("payment_methods", data),
  tokens: (data) => send("tokens", data),
};

// Connects once, and only to the page that this frame was created for.
addEventListener("message", ({ source, origin, ports: [pagePort] }) => {
  if (port || source !== parent || origin !== PAGE_ORIGIN || !pagePort) return;
  port = pagePort;
  port.onmessage = async ({ data: { call, name, data } }) =>
    port.postMessage({ call, result: await METHODS[name]?.(data) });
  new ResizeObserver(() => emit("height", Math.ceil(card.getBoundingClientRect().height))).observe(card);
  emit("ready");
});
