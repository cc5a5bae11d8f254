// What the bank of a card asks its holder. Either answer is the double's to act upon.

const PAGE = decodeURIComponent(location.hash.slice(1));
const complete = document.querySelector("#test-source-authorize-3ds");
const fail = document.querySelector("#test-source-fail-3ds");

const ask = (port, { key, id, clientSecret, amount }) => {
  const dollars = new Intl.NumberFormat("en-US", { style: "currency", currency: "USD" });
  document.querySelector("#amount").textContent = dollars.format(amount / 100);
  const answer = async (authentication) => {
    complete.disabled = fail.disabled = true;
    const body = new URLSearchParams({ key, client_secret: clientSecret, authentication });
    try {
      await fetch(`/v1/payment_intents/${id}/authenticate`, { method: "POST", body });
      // Whatever came of it, the page sees by the intent
      port.postMessage({ event: "answered" });
    } catch {
      complete.disabled = fail.disabled = false;
      document.querySelector("[role=alert]").textContent = "The bank cannot be reached. Try again.";
    }
  };
  complete.onclick = () => answer("succeeds");
  fail.onclick = () => answer("fails");
  complete.disabled = fail.disabled = false;
  complete.focus();
};

addEventListener("message", ({ source, origin, ports: [port] }) => {
  if (source !== parent || origin !== PAGE || !port) return;
  port.onmessage = ({ data }) => {
    if (data.name === "ask") ask(port, data.data);
  };
  port.postMessage({ event: "ready" });
});
