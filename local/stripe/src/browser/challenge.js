// The 3-D Secure challenge. It replaces the page of the card's bank and reports the result to the double.

const PAGE_ORIGIN = decodeURIComponent(location.hash.slice(1));
const complete = document.querySelector("#test-source-authorize-3ds");
const fail = document.querySelector("#test-source-fail-3ds");

const start = (port, { key, id, clientSecret, amount, currency }) => {
  const money = new Intl.NumberFormat("en-US", { style: "currency", currency });
  document.querySelector("#amount").textContent = money.format(amount / 100);
  const finish = async (authentication) => {
    complete.disabled = fail.disabled = true;
    const body = new URLSearchParams({ key, client_secret: clientSecret, authentication });
    try {
      await fetch(`/v1/payment_intents/${id}/authenticate`, { method: "POST", body });
      // The page then retrieves the PaymentIntent, whatever the status of this response.
      port.postMessage({ event: "finished" });
    } catch {
      complete.disabled = fail.disabled = false;
      document.querySelector("[role=alert]").textContent = "The bank cannot be reached. Try again.";
    }
  };
  complete.onclick = () => finish("succeeds");
  fail.onclick = () => finish("fails");
  complete.disabled = fail.disabled = false;
  complete.focus();
};

addEventListener("message", ({ source, origin, ports: [port] }) => {
  if (source !== parent || origin !== PAGE_ORIGIN || !port) return;
  port.onmessage = ({ data }) => {
    if (data.name === "start") start(port, data.data);
  };
  port.postMessage({ event: "ready" });
});
