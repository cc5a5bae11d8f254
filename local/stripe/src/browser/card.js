// The fields of a card. What is typed goes to the double, and never to the page around this frame:
// that is told whether it is complete, what is wrong with it, and what was made of it.

const PAGE = decodeURIComponent(location.hash.slice(1));

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

const luhn = (text) => {
  const sum = [...text].reverse().reduce((sum, digit, at) => {
    const doubled = at % 2 ? digit * 2 : Number(digit);
    return sum + (doubled > 9 ? doubled - 9 : doubled);
  }, 0);
  return sum % 10 === 0;
};

/** The codes and words of https://docs.stripe.com/js/appendix/cardelement-errors. */
const WRONG = {
  incomplete_number: "Your card number is incomplete.",
  invalid_number: "Your card number is invalid.",
  incomplete_expiry: "Your card's expiration date is incomplete.",
  invalid_expiry_month_past: "Your card's expiration date is in the past.",
  invalid_expiry_year_past: "Your card's expiration year is in the past.",
  invalid_expiry_year: "Your card's expiration year is invalid.",
  incomplete_cvc: "Your card's security code is incomplete.",
  incomplete_zip: "Your postal code is incomplete.",
};

/** What is wrong with each field, incomplete ones among them. */
const CHECKS = new Map([
  [
    number,
    () => {
      const typed = digits(number.value);
      if (typed.length < brand().length) return "incomplete_number";
      return luhn(typed) ? undefined : "invalid_number";
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
      // Its cards are of the United States
      const needed = !postal.closest("label").hidden;
      return needed && digits(postal.value).length < 5 ? "incomplete_zip" : undefined;
    },
  ],
]);

const FORMATS = new Map([
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

const fields = [...CHECKS.keys()];
/** Those that their holder has left, or that were submitted: what they lack is an error by now. */
const left = new Set();
let port;
let told;
let options = {};

const validation = (code) => code && { type: "validation_error", code, message: WRONG[code] };

const problem = (field, submitted) => {
  const code = CHECKS.get(field)();
  const waits = code?.startsWith("incomplete") && !submitted && !(left.has(field) && field.value);
  return waits ? undefined : code;
};

const tell = (event, detail) => port?.postMessage({ event, detail });

const review = (submitted = false) => {
  for (const field of fields) field.setAttribute("aria-invalid", Boolean(problem(field, submitted)));
  const error = validation(fields.map((field) => problem(field, submitted)).find(Boolean));
  const change = {
    empty: fields.every((field) => !field.value),
    complete: fields.every((field) => !CHECKS.get(field)()),
    brand: brand().name,
    error,
    value: { postalCode: postal.value },
  };
  const said = JSON.stringify(change);
  if (said !== told) tell("change", change);
  told = said;
  return error;
};

/** Writes what was typed the way that it is printed, and leaves the caret after the same digit. */
const format = (field) => {
  const atEnd = field.selectionStart === field.value.length;
  const before = digits(field.value.slice(0, field.selectionStart)).length;
  const shown = FORMATS.get(field)(digits(field.value));
  if (shown === field.value) return;
  field.value = shown;
  if (atEnd || document.activeElement !== field) return;
  const ends = [...shown].flatMap((character, at) => (/\d/.test(character) ? [at + 1] : []));
  const caret = before ? (ends[before - 1] ?? shown.length) : 0;
  field.setSelectionRange(caret, caret);
};

for (const field of fields) {
  field.addEventListener("input", (event) => {
    left.delete(field);
    format(field);
    review();
    const typed = event.inputType === "insertText" && field.selectionStart === field.value.length;
    const next = fields[fields.indexOf(field) + 1];
    if (typed && !CHECKS.get(field)() && next && !next.closest("label").hidden) next.focus();
  });
  field.addEventListener("focus", () => tell("focus"));
  field.addEventListener("blur", ({ relatedTarget }) => {
    left.add(field);
    review();
    if (!relatedTarget) tell("blur");
  });
  field.addEventListener("keydown", ({ key }) => key === "Escape" && tell("escape"));
}
card.addEventListener("submit", (event) => event.preventDefault());

const STYLES = ["color", "font-family", "font-size", "font-style", "font-weight", "letter-spacing", "line-height"];
const hyphenated = (name) => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);

const configure = (given) => {
  options = given ?? {};
  const { base = {}, invalid = {} } = options.style ?? {};
  for (const [name, value] of Object.entries(base)) {
    if (STYLES.includes(hyphenated(name))) card.style.setProperty(hyphenated(name), value);
  }
  const colours = { "--placeholder": base["::placeholder"]?.color, "--invalid": invalid.color };
  for (const [name, value] of Object.entries(colours)) if (value) card.style.setProperty(name, value);
  for (const field of fields) field.disabled = Boolean(options.disabled);
  postal.closest("label").hidden = Boolean(options.hidePostalCode);
  if (options.value?.postalCode) postal.value = options.value.postalCode;
  review();
};

const encode = (data, name = "") =>
  Object.entries(data).flatMap(([key, value]) => {
    const inner = name ? `${name}[${key}]` : key;
    if (value === undefined || value === null) return [];
    return typeof value === "object" ? encode(value, inner) : [[inner, String(value)]];
  });

/** Sends the card to a route of the API, and gives what it answers, or what is wrong with the card. */
const send = async (route, data) => {
  const error = review(true);
  if (error) return { error };
  const typed = digits(expiry.value);
  const made = {
    number: digits(number.value),
    exp_month: typed.slice(0, 2),
    exp_year: typed.slice(2),
    cvc: digits(cvc.value),
  };
  const zip = postal.closest("label").hidden ? undefined : postal.value;
  const billed = { ...data };
  if (route === "tokens") billed.card = { address_zip: zip, ...data.card, ...made };
  else {
    const { address, ...details } = data.billing_details ?? {};
    billed.billing_details = { ...details, address: { postal_code: zip, ...address } };
    billed.card = made;
  }
  try {
    const response = await fetch(`/v1/${route}`, { method: "POST", body: new URLSearchParams(encode(billed)) });
    return await response.json();
  } catch {
    const message = "An error occurred with our connection to Stripe. Please try again in a moment.";
    return { error: { type: "api_connection_error", message } };
  }
};

const CALLS = {
  options: configure,
  clear: () => {
    card.reset();
    left.clear();
    review();
  },
  focus: () => (fields.find((field) => CHECKS.get(field)()) ?? number).focus(),
  blur: () => document.activeElement?.blur(),
  payment_methods: (data) => send("payment_methods", data),
  tokens: (data) => send("tokens", data),
};

// Once, and with nobody but the page that this frame was made for
addEventListener("message", ({ source, origin, ports: [given] }) => {
  if (port || source !== parent || origin !== PAGE || !given) return;
  port = given;
  port.onmessage = async ({ data: { call, name, data } }) =>
    port.postMessage({ call, answer: await CALLS[name]?.(data) });
  new ResizeObserver(() => tell("height", Math.ceil(card.getBoundingClientRect().height))).observe(card);
  tell("ready");
});
