// What stands in for Stripe.js: https://docs.stripe.com/js. The card's number is typed into a frame
// of the double's own, and never comes here. Nothing is styled but through the CSSOM, so that the
// page's policy needs no 'unsafe-inline'.

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

  /** A frame of the double's, and what is said through a port that only it has. */
  class Frame {
    #port;
    #calls = new Map();
    #made = 0;
    #ready = Promise.withResolvers();
    #heard;

    constructor(page, title, heard) {
      this.#heard = heard;
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
        if (data.event) return this.#heard(data);
        this.#calls.get(data.call)?.resolve(data.answer);
        this.#calls.delete(data.call);
      };
      this.#port = port1;
      // To nobody if something else is there by now
      this.element.contentWindow.postMessage("connect", ORIGIN, [port2]);
    }

    async call(name, data) {
      await this.#ready.promise;
      const call = Promise.withResolvers();
      const id = ++this.#made;
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
    #place;
    #destroyed = false;

    constructor(options) {
      this.#options = options;
    }

    mount(place) {
      if (this.#destroyed) {
        throw new IntegrationError("This Element has already been destroyed. Please create a new one.");
      }
      const found = typeof place === "string" ? document.querySelector(place) : place;
      if (!(found instanceof Element)) {
        throw new IntegrationError(
          `The selector you specified (${place}) applies to no DOM elements that are currently on the page.`,
        );
      }
      if (this.#place === found) return;
      this.unmount();
      this.#place = found;
      this.#frame = new Frame("card.html", "Secure card payment input frame", (said) => this.#hear(said));
      style(this.#frame.element, {
        border: "0",
        display: "block",
        width: "100%",
        height: "1.2em",
        // Or the browser paints the frame white in a dark page
        "color-scheme": "light",
      });
      found.classList.add("StripeElement", "StripeElement--empty");
      found.replaceChildren(this.#frame.element);
      this.#tell("options", this.#options);
    }

    unmount() {
      this.#frame?.close(unmounted());
      this.#frame = undefined;
      for (const state of ["", "--empty", "--complete", "--invalid", "--focus"]) {
        this.#place?.classList.remove(`StripeElement${state}`);
      }
      this.#place = undefined;
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
      const once = (said) => {
        this.off(event, once);
        listener(said);
      };
      return this.on(event, once);
    }

    off(event, listener) {
      const left = (this.#listeners.get(event) ?? []).filter((known) => listener && known !== listener);
      this.#listeners.set(event, left);
      return this;
    }

    update(options) {
      this.#options = { ...this.#options, ...options };
      this.#tell("options", this.#options);
    }

    clear() {
      this.#tell("clear");
    }

    focus() {
      this.#frame?.element.focus();
      this.#tell("focus");
    }

    blur() {
      this.#tell("blur");
    }

    /** What becomes of the card that was typed: {@link Frame.call}. */
    submit(name, data) {
      return this.#frame ? this.#frame.call(name, data) : Promise.reject(unmounted());
    }

    #tell(name, data) {
      this.#frame?.call(name, data).catch(() => {});
    }

    #hear({ event, detail }) {
      if (event === "height") {
        if (this.#frame) style(this.#frame.element, { height: `${detail}px` });
        return;
      }
      const mark = (state, on) => this.#place?.classList.toggle(`StripeElement--${state}`, on);
      if (event === "change") {
        mark("empty", detail.empty);
        mark("complete", detail.complete);
        mark("invalid", Boolean(detail.error));
      }
      if (event === "focus" || event === "blur") mark("focus", event === "focus");
      const said = event === "ready" ? this : { elementType: "card", ...detail };
      for (const listener of this.#listeners.get(event) ?? []) listener(said);
    }
  }

  /** The parameters of a form, `a[b]=c`, without those that are not set. */
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

  /** Shows what the card's bank asks, and resolves once its holder is through with it. */
  const challenge = async (key, intent) => {
    const dialog = document.createElement("dialog");
    const answered = Promise.withResolvers();
    const before = document.activeElement;
    dialog.setAttribute("aria-label", "3D Secure");
    const frame = new Frame("challenge.html", "3D Secure challenge", ({ event }) => {
      if (event === "answered") answered.resolve();
    });
    const whole = { width: "100vw", height: "100vh", border: "0", "max-width": "none", "max-height": "none" };
    style(dialog, { ...whole, margin: "0", padding: "0", overflow: "hidden", background: "rgb(0 0 0 / 60%)" });
    style(frame.element, { ...whole, display: "block", "color-scheme": "light" });
    // Who closes it is not authenticated, as at Stripe's own
    dialog.addEventListener("close", async () => {
      const fails = { key, client_secret: intent.client_secret, authentication: "fails" };
      await api("POST", `payment_intents/${intent.id}/authenticate`, fails);
      answered.resolve();
    });
    dialog.append(frame.element);
    document.body.append(dialog);
    dialog.showModal();
    frame
      .call("ask", { key, id: intent.id, clientSecret: intent.client_secret, amount: intent.amount })
      .catch(() => {});
    await answered.promise;
    dialog.remove();
    frame.close(unmounted());
    if (before instanceof HTMLElement) before.focus();
  };

  /** https://docs.stripe.com/js/initializing */
  class Stripe {
    #key;

    constructor(key) {
      this.#key = key;
    }

    elements() {
      let made;
      return {
        create: (kind, options = {}) => {
          if (kind !== "card") throw new IntegrationError(`The double has no Element of the type ${kind}.`);
          if (made)
            throw new IntegrationError("Can only create one Element of type card through this elements instance.");
          made = new CardElement(options);
          const { destroy } = CardElement.prototype;
          made.destroy = function () {
            made = undefined;
            destroy.call(this);
          };
          return made;
        },
        getElement: () => made ?? null,
      };
    }

    async createPaymentMethod({ type, card, billing_details } = {}) {
      if (type !== "card") throw new IntegrationError("The double makes payment methods of cards alone.");
      const data = { key: this.#key, type, billing_details };
      if (card instanceof CardElement) return named("paymentMethod", await card.submit("payment_methods", data));
      if (!card?.token) throw new IntegrationError("Please pass the card Element, or a token.");
      const token = { token: card.token };
      return named("paymentMethod", await api("POST", "payment_methods", { ...data, card: token }));
    }

    async createToken(card, { name, address_zip } = {}) {
      if (!(card instanceof CardElement)) throw new IntegrationError("Please pass the card Element.");
      return named("token", await card.submit("tokens", { key: this.#key, card: { name, address_zip } }));
    }

    retrievePaymentIntent(clientSecret) {
      return this.#intent("GET", clientSecret);
    }

    async confirmCardPayment(clientSecret, data = {}, { handleActions = true } = {}) {
      const { payment_method: given, return_url } = data;
      let method = given;
      if (given && typeof given === "object") {
        const made = await this.createPaymentMethod({ type: "card", ...given });
        if (made.error) return made;
        method = made.paymentMethod.id;
      }
      const confirmed = await this.#intent("POST", clientSecret, "/confirm", { payment_method: method, return_url });
      return handleActions && confirmed.paymentIntent ? this.#act(confirmed) : confirmed;
    }

    async handleCardAction(clientSecret) {
      const found = await this.retrievePaymentIntent(clientSecret);
      if (!found.error && found.paymentIntent.status !== "requires_action") {
        const message = "handleCardAction: The PaymentIntent supplied is not in the requires_action state.";
        return { error: { type: "invalid_request_error", code: "payment_intent_unexpected_state", message } };
      }
      return this.#act(found);
    }

    async handleNextAction({ clientSecret } = {}) {
      return this.#act(await this.retrievePaymentIntent(clientSecret));
    }

    /** Has the holder do what an intent waits for. */
    async #act(found) {
      if (found.paymentIntent?.status !== "requires_action") return found;
      await challenge(this.#key, found.paymentIntent);
      const after = await this.retrievePaymentIntent(found.paymentIntent.client_secret);
      const failed = after.paymentIntent?.last_payment_error;
      if (!failed) return after;
      const unauthenticated = failed.code === "payment_intent_authentication_failure";
      const message = unauthenticated ? UNAUTHENTICATED : failed.message;
      return { error: { ...failed, message, payment_intent: after.paymentIntent } };
    }

    async #intent(method, clientSecret, action = "", data = {}) {
      const [id, secret] = String(clientSecret).split("_secret_");
      if (!id.startsWith("pi_") || !secret) {
        throw new IntegrationError(
          "Invalid value for stripe.js intent secret: value should be a client_secret string.",
        );
      }
      const sent = { ...data, key: this.#key, client_secret: clientSecret };
      return named("paymentIntent", await api(method, `payment_intents/${id}${action}`, sent));
    }
  }

  const named = (name, answer) => (answer.error ? { error: answer.error } : { [name]: answer });

  window.Stripe = (key) => {
    if (typeof key !== "string" || !key.startsWith("pk_")) {
      // The key itself stays out of it: it may be the secret one
      throw new IntegrationError("Please call Stripe() with your publishable key, which starts with pk_.");
    }
    return new Stripe(key);
  };
  window.Stripe.version = 3;
})();
