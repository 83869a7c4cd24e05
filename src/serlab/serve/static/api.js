// The server's answers.

export class Refused extends Error {
  constructor(status, sentence) {
    super(sentence);
    this.status = status;
  }
}

async function ask(address, token, options = {}) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  let response;
  try {
    response = await fetch(address, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, "the server does not answer; is it still running?");
  }
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new Refused(response.status, body.error || `the server answered with the code ${response.status}.`);
  return body;
}

export function models(token) {
  return ask("v1/models", token);
}

export async function predict(file, { model, segments, abstain, token, signal }) {
  const query = new URLSearchParams({ model });
  if (segments) query.set("segments", "true");
  if (abstain) query.set("abstain", abstain);
  const body = new FormData();
  body.append("file", file, "recording"); // The name stays in the browser.
  for (let tries = 0; ; tries += 1) {
    try {
      return await ask(`v1/predict?${query}`, token, { method: "POST", body, signal });
    } catch (error) {
      if (tries === 3 || ![429, 503].includes(error.status)) throw error;
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  }
}
