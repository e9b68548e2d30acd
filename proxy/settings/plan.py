"""Settings → what the catalog should be, the built-in llm included."""

from __future__ import annotations

from proxy.catalog.plan import CatalogPlan, LlmPlan, ProviderPlan, RoutePlan
from proxy.settings.check import BUILT_IN_LLM, BUILT_IN_PROVIDER
from proxy.settings.tree import LlmSettings, Settings

# Priced, so that a first call shows money; never a fallback for another llm.
ECHO_PRICE = {"input": "1.00", "output": "2.00"}
ECHO_CONTEXT_WINDOW = 128_000
ECHO_MAX_OUTPUT = 16_384


def catalog_plan(settings: Settings) -> CatalogPlan:
    providers = [
        ProviderPlan(
            name, given.dialect, given.base_url.rstrip("/"), given.stream_usage, given.usage_reader, given.service_tier
        )
        for name, given in settings.providers.items()
    ]
    llms = [_llm(llm) for llm in settings.llms]
    if settings.echo:
        providers.append(ProviderPlan(BUILT_IN_PROVIDER, "echo", "echo://built-in"))
        route = RoutePlan(BUILT_IN_PROVIDER, "echo", ECHO_PRICE)
        llms.append(LlmPlan(BUILT_IN_LLM, ECHO_CONTEXT_WINDOW, ECHO_MAX_OUTPUT, (route,)))
    return CatalogPlan(tuple(providers), tuple(llms))


def _llm(llm: LlmSettings) -> LlmPlan:
    routes = tuple(
        RoutePlan(route.provider, route.model, llm.price if route.price is None else route.price)
        for route in llm.routes
    )
    return LlmPlan(llm.name, llm.context_window, llm.max_output, routes, llm.unpriced)
