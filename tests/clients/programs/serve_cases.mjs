// What every Node program here shares: cases by name on stdin, one line of JSON per case on stdout (as serve_cases.py).
import { createInterface } from "node:readline";

export const given = JSON.parse(process.env.CLIENT_GIVEN);
export const TOOL = {
  name: "get_weather",
  description: "The weather in a city.",
  parameters: {
    type: "object", properties: { city: { type: "string" } }, required: ["city"], additionalProperties: false,
  },
};
export const CITY = {
  type: "object", properties: { name: { type: "string" }, country: { type: "string" } },
  required: ["name", "country"], additionalProperties: false,
};
export const getWeather = (city) => `21 degrees in ${city}`;

export async function joined(pieces, textOf = (piece) => piece) {
  const told = [];
  for await (const piece of pieces) {
    const text = textOf(piece);
    if (text) told.push(text);
  }
  if (told.length < 2) throw new Error(`not streamed: ${JSON.stringify(told)}`);
  return told.join("");
}

const say = (result) => process.stdout.write(`@case ${JSON.stringify(result)}\n`);

export async function serve(cases) {
  say({ ready: Object.keys(cases).sort() });
  for await (const line of createInterface({ input: process.stdin })) {
    try {
      say(await cases[line.trim()]());
    } catch (error) {
      say({ failed: `${error.name}: ${error.message}`, trace: `${error.stack}`.slice(-3000) });
    }
  }
}
