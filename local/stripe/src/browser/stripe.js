// The double of Stripe.js (https://docs.stripe.com/js). The cardholder enters the card number in a frame
// of the double's origin, so this script never has it. Styles are set only through the CSSOM, so that the
// page's content security policy does not need 'unsafe-inline'.

(() => {
  "use strict";

  const ORIGIN = new URL(document.currentScript.src).origin;
  const UNAUTHENTICATED =
    "We are unable to authenticate your payment method. Please choose a different payment method and try again.";
  let frames = 0;

  class IntegrationError extends Error {
    name = "IntegrationError";
  }

  const style = (element, properties) => {
    for (const [name, value] of Object.entries(properties)) {
      element.style.setProperty(name, value, "important");
    }
  };

  /** A frame of the double's origin, and the message port that connects it to this script. */
  class Frame {
    #port;
    #calls = new Map();
    #lastCall = 0;
    #ready = Promise.withResolvers();
    #onEvent;

    constructor(page, title, onEvent) {
      this.#onEvent = onEvent;
      this.#ready.promise.catch(() => {});
      this.element = document.createElement("iframe");
      this.element.name = `__privateStripeFrame${++frames}`;
      this.element.title = title;
      this.element.src = `${ORIGIN}/v3/${page}#${encodeURIComponent(location.origin)}`;
      this.element.setAttribute("frameborder", "0");
      this.element.addEventListener("load", () => this.#connect());
    }

    #connect() {
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = ({ data }) => {
        if (data.event === "ready") this.#ready.resolve();
        if (data.event) return this.#onEvent(data);
        this.#calls.get(data.call)?.resolve(data.result);
        this.#calls.delete(data.call);
      };
      this.#port = port1;
      // Not delivered if the frame has navigated to another origin.
      this.element.contentWindow.postMessage("connect", ORIGIN, [port2]);
    }

    async call(name, data) {
      await this.#ready.promise;
      const call = Promise.withResolvers();
      const id = ++this.#lastCall;
      this.#calls.set(id, call);
      this.#port.postMessage({ call: id, name, data });
      return call.promise;
    }

    close(reason) {
      this.#ready.reject(reason);
      for (const call of this.#calls.values()) call.reject(reason);
      this.#calls.clear();
      this.element.remove();
      this.#port?.close();
    }
  }

  const unmounted = () =>
    new IntegrationError(
      "We could not retrieve data from the specified Element. Please make sure the Element you are attempting to use is still mounted.",
    );

  /** https://docs.stripe.com/js/element */
  class CardElement {
    #options;
    #listeners = new Map();
    #frame;
    #container;
    #destroyed = false;

    constructor(options) {
      this.#options = options;
    }

    mount(target) {
      if (this.#destroyed) {
        throw new IntegrationError("This Element has already been destroyed. Please create a new one.");
      }
      const container = typeof target === "string" ? document.querySelector(target) : target;
      if (!(container instanceof Element)) {
        throw new IntegrationError(
          `The selector you specified (${target}) applies to no DOM elements that are currently on the page.`,
        );
      }
      if (this.#container === container) return;
      this.unmount();
      this.#container = container;
      this.#frame = new Frame("card.html", "Secure card payment input frame", (message) => this.#handle(message));
      style(this.#frame.element, {
        border: "0",
        display: "block",
        width: "100%",
        height: "1.2em",
        // Otherwise the browser gives the frame a white background on a dark page.
        "color-scheme": "light",
      });
      container.classList.add("StripeElement", "StripeElement--empty");
      container.replaceChildren(this.#frame.element);
      this.#send("options", this.#options);
    }

    unmount() {
      this.#frame?.close(unmounted());
      this.#frame = undefined;
      for (const state of ["", "--empty", "--complete", "--invalid", "--focus"]) {
        this.#container?.classList.remove(`StripeElement${state}`);
      }
      this.#container = undefined;
    }

    destroy() {
      this.unmount();
      this.#listeners.clear();
      this.#destroyed = true;
    }

    on(event, listener) {
      this.#listeners.set(event, [...(this.#listeners.get(event) ?? []), listener]);
      return this;
    }

    once(event, listener) {
      const once = (detail) => {
        this.off(event, once);
        listener(detail);
      };
      return this.on(event, once);
    }

    off(event, listener) {
      const remaining = (this.#listeners.get(event) ?? []).filter((other) => listener && other !== listener);
      this.#listeners.set(event, remaining);
      return this;
    }

    update(options) {
      this.#options = { ...this.#options, ...options };
      this.#send("options", this.#options);
    }

    clear() {
      this.#send("clear");
    }

    focus() {
      this.#frame?.element.focus();
      this.#send("focus");
    }

    blur() {
      this.#send("blur");
    }

    /** Creates a payment method or a token from the card. Resolves with the response of the API. */
    submit(name, data) {
      return this.#frame ? this.#frame.call(name, data) : Promise.reject(unmounted());
    }

    #send(name, data) {
      this.#frame?.call(name, data).catch(() => {});
    }

    #handle({ event, detail }) {
      if (event === "height") {
        if (this.#frame) style(this.#frame.element, { height: `${detail}px` });
        return;
      }
      const mark = (state, on) => this.#container?.classList.toggle(`StripeElement--${state}`, on);
      if (event === "change") {
        mark("empty", detail.empty);
        mark("complete", detail.complete);
        mark("invalid", Boolean(detail.error));
      }
      if (event === "focus" || event === "blur") mark("focus", event === "focus");
      const payload = event === "ready" ? this : { elementType: "card", ...detail };
      for (const listener of this.#listeners.get(event) ?? []) listener(payload);
    }
  }

  /** Form parameters such as `a[b]=c`, without unset values. */
  const form = (data) => {
    const encoded = new URLSearchParams();
    const add = (name, value) => {
      if (value === undefined || value === null) return;
      if (typeof value === "object") {
        for (const [key, inner] of Object.entries(value)) add(name ? `${name}[${key}]` : key, inner);
      } else encoded.append(name, String(value));
    };
    add("", data);
    return encoded;
  };

  const api = async (method, path, data) => {
    const url = new URL(`/v1/${path}`, ORIGIN);
    const body = method === "POST" ? form(data) : undefined;
    if (!body) url.search = form(data);
    try {
      const response = await fetch(url, { method, body });
      return await response.json();
    } catch {
      const message = "An error occurred with our connection to Stripe. Please try again in a moment.";
      return { error: { type: "api_connection_error", message } };
    }
  };

  /** Shows the 3-D Secure challenge. Resolves when the cardholder has finished it. */
  const challenge = async (key, intent) => {
    const dialog = document.createElement("dialog");
    const finished = Promise.withResolvers();
    const focused = document.activeElement;
    dialog.setAttribute("aria-label", "3D Secure");
    const frame = new Frame("challenge.html", "3D Secure challenge", ({ event }) => {
      if (event === "finished") finished.resolve();
    });
    const fullScreen = { width: "100vw", height: "100vh", border: "0", "max-width": "none", "max-height": "none" };
    style(dialog, { ...fullScreen, margin: "0", padding: "0", overflow: "hidden", background: "rgb(0 0 0 / 60%)" });
    style(frame.element, { ...fullScreen, display: "block", "color-scheme": "light" });
    // Closing the dialog fails the authentication, as with Stripe.js.
    dialog.addEventListener("close", async () => {
      const fails = { key, client_secret: intent.client_secret, authentication: "fails" };
      await api("POST", `payment_intents/${intent.id}/authenticate`, fails);
      finished.resolve();
    });
    dialog.append(frame.element);
    document.body.append(dialog);
    dialog.showModal();
    frame
      .call("start", {
        key,
        id: intent.id,
        clientSecret: intent.client_secret,
        amount: intent.amount,
        currency: intent.currency,
      })
      .catch(() => {});
    await finished.promise;
    dialog.remove();
    frame.close(unmounted());
    if (focused instanceof HTMLElement) focused.focus();
  };

  /** https://docs.stripe.com/js/initializing */
  class Stripe {
    #key;

    constructor(key) {
      this.#key = key;
    }

    elements() {
      let element;
      return {
        create: (kind, options = {}) => {
          if (kind !== "card")
            throw new IntegrationError(`The Stripe test double supports only the Element card, not ${kind}.`);
          if (element)
            throw new IntegrationError("Can only create one Element of type card through this elements instance.");
          element = new CardElement(options);
          const { destroy } = CardElement.prototype;
          element.destroy = function () {
            element = undefined;
            destroy.call(this);
          };
          return element;
        },
        getElement: () => element ?? null,
      };
    }

    async createPaymentMethod({ type, card, billing_details } = {}) {
      if (type !== "card")
        throw new IntegrationError("The Stripe test double supports only payment methods of type card.");
      const data = { key: this.#key, type, billing_details };
      if (card instanceof CardElement) return named("paymentMethod", await card.submit("payment_methods", data));
      if (!card?.token) throw new IntegrationError("Please pass the card Element or a token.");
      const token = { token: card.token };
      return named("paymentMethod", await api("POST", "payment_methods", { ...data, card: token }));
    }

    async createToken(card, { name, address_zip } = {}) {
      if (!(card instanceof CardElement)) throw new IntegrationError("Please pass the card Element.");
      return named("token", await card.submit("tokens", { key: this.#key, card: { name, address_zip } }));
    }

    retrievePaymentIntent(clientSecret) {
      return this.#callIntent("GET", clientSecret);
    }

    async confirmCardPayment(clientSecret, data = {}, { handleActions = true } = {}) {
      const { payment_method, return_url } = data;
      let method = payment_method;
      if (method && typeof method === "object") {
        const created = await this.createPaymentMethod({ type: "card", ...method });
        if (created.error) return created;
        method = created.paymentMethod.id;
      }
      const confirmed = await this.#callIntent("POST", clientSecret, "/confirm", {
        payment_method: method,
        return_url,
      });
      return handleActions && confirmed.paymentIntent ? this.#handleAction(confirmed) : confirmed;
    }

    async handleCardAction(clientSecret) {
      const found = await this.retrievePaymentIntent(clientSecret);
      if (!found.error && found.paymentIntent.status !== "requires_action") {
        const message = "handleCardAction: The PaymentIntent supplied is not in the requires_action state.";
        return { error: { type: "invalid_request_error", code: "payment_intent_unexpected_state", message } };
      }
      return this.#handleAction(found);
    }

    async handleNextAction({ clientSecret } = {}) {
      return this.#handleAction(await this.retrievePaymentIntent(clientSecret));
    }

    /** Shows the challenge of a PaymentIntent that requires action. Resolves with its new state. */
    async #handleAction(found) {
      if (found.paymentIntent?.status !== "requires_action") return found;
      await challenge(this.#key, found.paymentIntent);
      const after = await this.retrievePaymentIntent(found.paymentIntent.client_secret);
      const failed = after.paymentIntent?.last_payment_error;
      if (!failed) return after;
      const unauthenticated = failed.code === "payment_intent_authentication_failure";
      const message = unauthenticated ? UNAUTHENTICATED : failed.message;
      return { error: { ...failed, message, payment_intent: after.paymentIntent } };
    }

    async #callIntent(method, clientSecret, action = "", data = {}) {
      const [id, secret] = String(clientSecret).split("_secret_");
      if (!id.startsWith("pi_") || !secret) {
        throw new IntegrationError(
          "Invalid value for stripe.js intent secret: value should be a client_secret string.",
        );
      }
      const body = { ...data, key: this.#key, client_secret: clientSecret };
      return named("paymentIntent", await api(method, `payment_intents/${id}${action}`, body));
    }
  }

  /** The result of Stripe.js for a response of the API. */
  const named = (name, response) => (response.error ? { error: response.error } : { [name]: response });

  window.Stripe = (key) => {
    if (typeof key !== "string" || !key.startsWith("pk_")) {
      // The message does not contain the key, which may be the secret key.
      throw new IntegrationError("Please call Stripe() with your publishable key, which starts with pk_.");
    }
    return new Stripe(key);
  };
  window.Stripe.version = 3;
})();
