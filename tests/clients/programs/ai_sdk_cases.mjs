// The AI SDK's cases over any of its providers: `models` gives a language model per surface.
import { embedMany, generateText, isStepCount, jsonSchema, Output, streamText, tool } from "ai";
import { CITY, TOOL, getWeather, given, joined } from "./serve_cases.mjs";

export function casesOf(surface, model) {
  const withTool = () => {
    const cities = [];
    const weather = tool({
      description: TOOL.description, inputSchema: jsonSchema(TOOL.parameters),
      execute: async ({ city }) => (cities.push(city), getWeather(city)),
    });
    return [cities, { model, prompt: given.weather_question, tools: { get_weather: weather }, stopWhen: isStepCount(3) }];
  };
  return {
    [`${surface}.answer`]: async () => ({ text: (await generateText({ model, prompt: given.question })).text }),
    [`${surface}.stream`]: async () => ({ text: await joined(streamText({ model, prompt: given.question }).textStream) }),
    [`${surface}.tool`]: async () => {
      const [cities, options] = withTool();
      return { text: (await generateText(options)).text, city: cities[0] };
    },
    [`${surface}.tool-stream`]: async () => {
      const [cities, options] = withTool();
      return { text: await joined(streamText(options).textStream), city: cities[0] };
    },
    [`${surface}.structured`]: async () => {
      const output = Output.object({ schema: jsonSchema(CITY) });
      return (await generateText({ model, prompt: given.question, output })).output;
    },
  };
}

export const embedTwo = async (model) => ({ vectors: (await embedMany({ model, values: ["one", "two"] })).embeddings });
