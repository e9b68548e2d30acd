-- Who -------------------------------------------------------------------------------------------------------------
CREATE TABLE workspaces (
    id          uuid PRIMARY KEY,
    name        text NOT NULL CHECK (name <> ''),
    shard       integer NOT NULL DEFAULT 0,
    key_policy  text NOT NULL DEFAULT 'own_else_global'
                CHECK (key_policy IN ('own_else_global', 'own_then_global', 'own_only', 'global_only')),
    time_zone   text NOT NULL DEFAULT 'UTC',
    status      text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'blocked')),
    created_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE users (
    id          uuid PRIMARY KEY,
    email       text NOT NULL CHECK (email <> ''),
    name        text NOT NULL DEFAULT '',
    status      text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'blocked')),
    created_at  timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX users_email ON users (lower(email));

CREATE TABLE memberships (
    workspace_id uuid NOT NULL REFERENCES workspaces (id),
    user_id      uuid NOT NULL REFERENCES users (id),
    role         text NOT NULL CHECK (role IN ('owner', 'admin', 'billing', 'member', 'viewer')),
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_id, user_id)
);
CREATE INDEX memberships_user ON memberships (user_id);

CREATE TABLE virtual_keys (
    id           uuid PRIMARY KEY,
    workspace_id uuid NOT NULL REFERENCES workspaces (id),
    user_id      uuid NOT NULL REFERENCES users (id),
    name         text NOT NULL CHECK (name <> ''),
    hash         bytea NOT NULL UNIQUE,          -- HMAC-SHA256 with the server secret
    last4        text NOT NULL,
    imported     boolean NOT NULL DEFAULT false, -- a literal key of the customer's: no checksum
    llms         text[],                         -- NULL: all
    expires_at   timestamptz,
    status       text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'blocked')),
    created_at   timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX virtual_keys_workspace ON virtual_keys (workspace_id, id);

CREATE TABLE management_keys (
    id           uuid PRIMARY KEY,
    workspace_id uuid REFERENCES workspaces (id), -- NULL: the platform
    role         text NOT NULL CHECK (role IN ('owner', 'admin', 'billing', 'member', 'viewer')),
    name         text NOT NULL CHECK (name <> ''),
    hash         bytea NOT NULL UNIQUE,
    last4        text NOT NULL,
    expires_at   timestamptz,
    status       text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'blocked')),
    created_at   timestamptz NOT NULL DEFAULT now(),
    CHECK (workspace_id IS NOT NULL OR role = 'admin')
);

CREATE TABLE user_variables (
    id           uuid PRIMARY KEY,
    workspace_id uuid NOT NULL REFERENCES workspaces (id),
    scope        text NOT NULL CHECK (scope IN ('user', 'workspace')),
    user_id      uuid REFERENCES users (id),
    provider     text NOT NULL,
    sealed       bytea NOT NULL,                 -- AES-256-GCM, bound to this row
    last4        text NOT NULL,
    expires_at   timestamptz,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    CHECK ((scope = 'user') = (user_id IS NOT NULL)),
    UNIQUE NULLS NOT DISTINCT (workspace_id, scope, user_id, provider)
);

-- Where -----------------------------------------------------------------------------------------------------------
CREATE TABLE providers (
    id           uuid PRIMARY KEY,
    name         text NOT NULL UNIQUE,
    dialect      text NOT NULL,
    base_url     text NOT NULL,
    stream_usage text NOT NULL DEFAULT 'asked' CHECK (stream_usage IN ('asked', 'unasked')),
    usage_reader text NOT NULL DEFAULT 'openai',
    managed_by   text NOT NULL DEFAULT 'api' CHECK (managed_by IN ('config', 'api')),
    status       text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'removed')),
    created_at   timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE llms (
    id             uuid PRIMARY KEY,
    name           text NOT NULL UNIQUE,
    context_window integer,
    max_output     integer,
    managed_by     text NOT NULL DEFAULT 'api' CHECK (managed_by IN ('config', 'api')),
    status         text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'removed')),
    created_at     timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE routes (
    id             uuid PRIMARY KEY,
    llm_id         uuid NOT NULL REFERENCES llms (id),
    provider_id    uuid NOT NULL REFERENCES providers (id),
    upstream_model text NOT NULL,
    position       integer NOT NULL,
    status         text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'removed')),
    UNIQUE (llm_id, provider_id, upstream_model)
);

-- How much --------------------------------------------------------------------------------------------------------
CREATE TABLE units (
    name        text PRIMARY KEY,
    kind        text NOT NULL CHECK (kind IN ('token', 'count')),
    description text NOT NULL
);

CREATE TABLE price_versions (
    id              uuid PRIMARY KEY,
    route_id        uuid NOT NULL REFERENCES routes (id),
    effective_from  timestamptz NOT NULL,
    effective_to    timestamptz,
    source          text NOT NULL,
    source_revision text NOT NULL DEFAULT '',
    currency        text NOT NULL DEFAULT 'USD' CHECK (currency = 'USD'),
    digest          text NOT NULL,               -- of the items: an unchanged price makes no new version
    created_at      timestamptz NOT NULL DEFAULT now(),
    CHECK (effective_to IS NULL OR effective_to > effective_from)
);
CREATE INDEX price_versions_route ON price_versions (route_id, effective_from);

CREATE TABLE price_items (
    id                 uuid PRIMARY KEY,
    version_id         uuid NOT NULL REFERENCES price_versions (id),
    unit               text NOT NULL REFERENCES units (name),
    service_tier       text NOT NULL DEFAULT '', -- '': the standard tier
    above_input_tokens bigint NOT NULL DEFAULT 0 CHECK (above_input_tokens >= 0),
    price_pusd         bigint NOT NULL CHECK (price_pusd >= 0),
    per_units          bigint NOT NULL DEFAULT 1 CHECK (per_units > 0),
    UNIQUE (version_id, unit, service_tier, above_input_tokens)
);

-- What changed ----------------------------------------------------------------------------------------------------
CREATE TABLE epochs (
    scope_id   uuid PRIMARY KEY,                 -- a workspace; the nil uuid is the global epoch
    epoch      bigint NOT NULL DEFAULT 1,
    changed_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX epochs_changed ON epochs (changed_at);
INSERT INTO epochs (scope_id) VALUES ('00000000-0000-0000-0000-000000000000');

CREATE TABLE audit_log (
    id           uuid PRIMARY KEY,
    at           timestamptz NOT NULL DEFAULT now(),
    actor_kind   text NOT NULL,                  -- management_key | system
    actor_id     uuid NOT NULL,
    workspace_id uuid,
    verb         text NOT NULL,
    resource     text NOT NULL,
    resource_id  uuid,
    detail       text NOT NULL DEFAULT ''        -- what changed, as JSON text, never a secret
);
CREATE INDEX audit_log_workspace ON audit_log (workspace_id, at);

CREATE TABLE idempotency (
    actor_id     uuid NOT NULL,
    key          text NOT NULL,
    request_hash bytea NOT NULL,
    status       integer NOT NULL,
    sealed_body  bytea NOT NULL,                 -- the answer may hold a key that is shown once
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (actor_id, key)
);
CREATE INDEX idempotency_created ON idempotency (created_at);

-- The record ------------------------------------------------------------------------------------------------------
CREATE TABLE usage_events (
    workspace_id         uuid NOT NULL,
    attempt_id           uuid NOT NULL,
    occurred_at          timestamptz NOT NULL,   -- the moment inside attempt_id
    request_id           uuid NOT NULL,
    attempt_number       integer NOT NULL,
    user_id              uuid NOT NULL,
    virtual_key_id       uuid NOT NULL,
    agent_id             uuid,
    end_user             text,
    conversation_id      uuid,
    message_id           uuid,
    llm                  text NOT NULL,
    provider             text NOT NULL,
    upstream_model       text NOT NULL,
    surface              text NOT NULL,
    stream               boolean NOT NULL,
    key_source           text NOT NULL CHECK (key_source IN ('user', 'workspace', 'global')),
    provider_account     text NOT NULL CHECK (provider_account IN ('own', 'ours')),
    user_variable_id     uuid,
    usage_source         text NOT NULL CHECK (usage_source IN ('provider', 'estimated', 'none')),
    outcome              text NOT NULL CHECK (outcome IN ('ok', 'client_abort', 'upstream_error', 'abandoned')),
    upstream_status      integer,
    error_code           text,
    service_tier         text NOT NULL DEFAULT '',
    input_tokens         bigint NOT NULL CHECK (input_tokens >= 0),
    cached_tokens        bigint NOT NULL CHECK (cached_tokens >= 0),
    output_tokens        bigint NOT NULL CHECK (output_tokens >= 0),
    reasoning_tokens     bigint CHECK (reasoning_tokens >= 0),
    usage_inconsistent   boolean NOT NULL DEFAULT false,
    units                text[] NOT NULL,        -- the lines, as parallel arrays
    quantities           bigint[] NOT NULL,
    price_item_ids       uuid[] NOT NULL,
    line_list_pusd       bigint[] NOT NULL,
    line_charge_pusd     bigint[] NOT NULL,
    list_pusd            bigint NOT NULL CHECK (list_pusd >= 0),
    charge_pusd          bigint NOT NULL CHECK (charge_pusd >= 0),
    pricing              text NOT NULL CHECK (pricing IN ('priced', 'unpriced')),
    latency_ms           integer,
    first_token_ms       integer,
    overhead_ms          integer,
    upstream_request_id  text,
    raw_usage            text,                   -- the provider's own words (text: jsonb refuses \u0000)
    recorded_at          timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_id, attempt_id, occurred_at)
) PARTITION BY RANGE (occurred_at);
CREATE INDEX usage_events_time ON usage_events USING brin (occurred_at);
CREATE INDEX usage_events_workspace ON usage_events (workspace_id, occurred_at);

CREATE TABLE billing_events (
    id             uuid PRIMARY KEY,
    workspace_id   uuid NOT NULL,
    user_id        uuid NOT NULL,
    virtual_key_id uuid NOT NULL,
    attempt_id     uuid NOT NULL,
    kind           text NOT NULL CHECK (kind IN ('usage', 'correction')),
    amount_pusd    bigint NOT NULL,              -- what the workspace owes; a correction may be negative
    corrects       uuid REFERENCES billing_events (id),
    reason         text NOT NULL DEFAULT '',
    occurred_at    timestamptz NOT NULL,         -- of the attempt
    created_at     timestamptz NOT NULL DEFAULT now(),
    CHECK ((kind = 'correction') = (corrects IS NOT NULL))
);
CREATE UNIQUE INDEX billing_events_once ON billing_events (attempt_id) WHERE kind = 'usage';
CREATE INDEX billing_events_workspace ON billing_events (workspace_id, occurred_at);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'billing_events is append-only: write a correction that names the entry';
END $$;
CREATE TRIGGER billing_events_append_only BEFORE UPDATE OR DELETE ON billing_events
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER billing_events_no_truncate BEFORE TRUNCATE ON billing_events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TABLE usage_hourly (
    hour           timestamptz NOT NULL,
    workspace_id   uuid NOT NULL,
    user_id        uuid NOT NULL,
    virtual_key_id uuid NOT NULL,
    agent_id       uuid NOT NULL,                -- the nil uuid: none
    llm            text NOT NULL,
    provider       text NOT NULL,
    key_source     text NOT NULL,
    service_tier   text NOT NULL,
    unit           text NOT NULL,                -- 'requests', 'errors' and 'reasoning' are units too
    quantity       numeric(38, 0) NOT NULL,
    list_pusd      numeric(38, 0) NOT NULL,
    charge_pusd    numeric(38, 0) NOT NULL,
    PRIMARY KEY (workspace_id, hour, user_id, virtual_key_id, agent_id, llm, provider, key_source, service_tier, unit)
);

CREATE TABLE usage_daily (
    day            date NOT NULL,                -- UTC
    workspace_id   uuid NOT NULL,
    user_id        uuid NOT NULL,
    virtual_key_id uuid NOT NULL,
    agent_id       uuid NOT NULL,
    llm            text NOT NULL,
    provider       text NOT NULL,
    key_source     text NOT NULL,
    service_tier   text NOT NULL,
    unit           text NOT NULL,
    quantity       numeric(38, 0) NOT NULL,
    list_pusd      numeric(38, 0) NOT NULL,
    charge_pusd    numeric(38, 0) NOT NULL,
    PRIMARY KEY (workspace_id, day, user_id, virtual_key_id, agent_id, llm, provider, key_source, service_tier, unit)
);

CREATE TABLE dead_letters (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    shard      integer NOT NULL,
    entry_id   text NOT NULL,                    -- in the shard's stream
    payload    bytea NOT NULL,
    error      text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (shard, entry_id)
);

CREATE TABLE ledger_positions (
    shard      integer PRIMARY KEY,
    entry_id   text NOT NULL,                    -- last stream entry that is in the tables
    as_of      timestamptz NOT NULL              -- the ledger holds everything settled before this
);
