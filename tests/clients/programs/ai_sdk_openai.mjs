// AI SDK with @ai-sdk/openai: responses by default, chat completions with .chat().
import { createOpenAI } from "@ai-sdk/openai";
import { casesOf, embedTwo } from "./ai_sdk_cases.mjs";
import { given, serve } from "./serve_cases.mjs";

const openai = createOpenAI({ baseURL: given.base_url, apiKey: given.key });

await serve({
  ...casesOf("chat", openai.chat(given.llm)),
  ...casesOf("responses", openai(given.llm)),
  "embeddings.float": () => embedTwo(openai.embedding(given.embedding_llm)),
});
