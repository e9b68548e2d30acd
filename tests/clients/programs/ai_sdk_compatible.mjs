// AI SDK with @ai-sdk/openai-compatible: chat completions, streams without asking for usage.
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, streamText } from "ai";
import { casesOf, embedTwo } from "./ai_sdk_cases.mjs";
import { given, joined, serve } from "./serve_cases.mjs";

const provider = createOpenAICompatible({ name: "gateway", baseURL: given.base_url, apiKey: given.key });
const old = provider.completionModel(given.llm);

await serve({
  ...casesOf("chat", provider(given.llm)),
  "completions.answer": async () => ({ text: (await generateText({ model: old, prompt: given.question })).text }),
  "completions.stream": async () => ({ text: await joined(streamText({ model: old, prompt: given.question }).textStream) }),
  "embeddings.float": () => embedTwo(provider.embeddingModel(given.embedding_llm)),
});
