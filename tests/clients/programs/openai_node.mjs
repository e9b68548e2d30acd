// openai-node.
import OpenAI from "openai";
import { CITY, TOOL, getWeather, given, joined, serve } from "./serve_cases.mjs";

const client = new OpenAI({ baseURL: given.base_url, apiKey: given.key });
const model = given.llm;
const ask = (content) => [{ role: "user", content }];
const chatTools = [{ type: "function", function: TOOL }];
const responsesTools = [{ type: "function", strict: true, ...TOOL }];
const embed = async (options) => {
  const answer = await client.embeddings.create({ model: given.embedding_llm, input: ["one", "two"], ...options });
  return { vectors: answer.data.map((item) => item.embedding) };
};

await serve({
  "chat.answer": async () => {
    const answer = await client.chat.completions.create({ model, messages: ask(given.question) });
    return { text: answer.choices[0].message.content };
  },
  "chat.stream": async () => {
    const stream = await client.chat.completions.create({ model, messages: ask(given.question), stream: true });
    return { text: await joined(stream, (event) => event.choices[0].delta.content) };
  },
  "chat.tool": async () => {
    const messages = ask(given.weather_question);
    const { message } = (await client.chat.completions.create({ model, messages, tools: chatTools })).choices[0];
    const [call] = message.tool_calls;
    const { city } = JSON.parse(call.function.arguments);
    messages.push(message, { role: "tool", tool_call_id: call.id, content: getWeather(city) });
    const answer = await client.chat.completions.create({ model, messages, tools: chatTools });
    return { text: answer.choices[0].message.content, city };
  },
  "chat.tool-stream": async () => {
    const cities = [];
    const run = client.chat.completions.runTools({
      model, stream: true, messages: ask(given.weather_question),
      tools: [{ type: "function", function: { ...TOOL, parse: JSON.parse, function: ({ city }) => (cities.push(city), getWeather(city)) } }],
    });
    const text = await joined(run, (event) => event.choices[0].delta.content);
    return { text, city: cities[0] };
  },
  "chat.structured": async () => {
    const response_format = { type: "json_schema", json_schema: { name: "City", strict: true, schema: CITY } };
    const answer = await client.chat.completions.parse({ model, messages: ask(given.question), response_format });
    return JSON.parse(answer.choices[0].message.content);
  },
  "models.list": async () => {
    for await (const listed of client.models.list()) if (listed.id === model) return { listed: true };
    return { listed: false };
  },
  "responses.answer": async () => ({ text: (await client.responses.create({ model, input: given.question })).output_text }),
  "responses.stream": async () => {
    const stream = await client.responses.create({ model, input: given.question, stream: true });
    return { text: await joined(stream, (event) => event.type === "response.output_text.delta" && event.delta) };
  },
  "responses.tool": async () => {
    const first = await client.responses.create({ model, input: given.weather_question, tools: responsesTools });
    const call = first.output.find((item) => item.type === "function_call");
    const { city } = JSON.parse(call.arguments);
    const input = [{ type: "function_call_output", call_id: call.call_id, output: getWeather(city) }];
    const answer = await client.responses.create({ model, previous_response_id: first.id, input, tools: responsesTools });
    return { text: answer.output_text, city };
  },
  "completions.answer": async () => ({ text: (await client.completions.create({ model, prompt: given.question })).choices[0].text }),
  "completions.stream": async () => {
    const stream = await client.completions.create({ model, prompt: given.question, stream: true });
    return { text: await joined(stream, (event) => event.choices[0].text) };
  },
  "embeddings.base64": () => embed({}),
  "embeddings.float": () => embed({ encoding_format: "float" }),
  "embeddings.tokens": () => embed({ input: [[9906, 1917], [1917]] }),
  "moderations.answer": async () => {
    const answer = await client.moderations.create({ model: given.moderation_llm, input: "Hello" });
    return { flagged: answer.results[0].flagged };
  },
});
