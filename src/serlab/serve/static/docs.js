// Shows /openapi.json; Swagger's page would load its scripts from another host.

import { element } from "./answers.js";

function example(path, method) {
  const body = method === "post" ? " -F file=@recording.wav" : "";
  return `curl${body} ${location.origin}${path}`;
}

function table(title, rows) {
  if (!rows.length) return [];
  const body = rows.map(([name, text]) => element("tr", {}, element("td", {}, element("code", { text: name })), element("td", { text })));
  const head = element("tr", {}, element("th", { text: title, scope: "col" }), element("th", { text: "Meaning", scope: "col" }));
  return [element("table", {}, element("thead", {}, head), element("tbody", {}, ...body))];
}

function fields(description, response) {
  const name = response?.content?.["application/json"]?.schema?.$ref?.split("/").at(-1);
  const properties = description.components.schemas[name]?.properties ?? {};
  return Object.entries(properties).map(([field, { description: text, type, items }]) => {
    const item = items?.$ref ?? items?.anyOf?.[0].$ref;
    const inner = Object.keys(description.components.schemas[item?.split("/").at(-1)]?.properties ?? {});
    return [field, text ?? (inner.length ? `a list of: ${inner.join(", ")}` : (type ?? ""))];
  });
}

const description = await (await fetch("openapi.json")).json();
const parts = [];
for (const [path, methods] of Object.entries(description.paths)) {
  for (const [method, route] of Object.entries(methods)) {
    const codes = Object.entries(route.responses).filter(([code]) => code !== "200");
    parts.push(element("section", {},
      element("h2", {}, element("code", { text: `${method.toUpperCase()} ${path}` })),
      element("p", { text: route.description ?? "" }),
      element("pre", { text: example(path, method), tabIndex: 0 }),
      ...table("Parameter", (route.parameters ?? []).map(({ name, description: text }) => [name, text ?? ""])),
      ...table("Answer", fields(description, route.responses["200"])),
      ...table("Code", codes.map(([code, { description: text }]) => [code, text]))));
  }
}
document.getElementById("routes").replaceChildren(...parts);
