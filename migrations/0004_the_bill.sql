-- A range of ids is one id: GiST knows ranges of anything that is ordered, so no overlap needs an extension.
CREATE TYPE uuidrange AS RANGE (subtype = uuid);

-- How much --------------------------------------------------------------------------------------------------------
ALTER TABLE price_versions
    ADD COLUMN origin text NOT NULL DEFAULT 'book' CHECK (origin IN ('config', 'book', 'import', 'custom')),
    ADD COLUMN superseded_at timestamptz;            -- replaced for its whole time; events may still name its items
UPDATE price_versions SET origin = 'config' WHERE source = 'config';
ALTER TABLE price_versions ADD CONSTRAINT price_versions_no_overlap EXCLUDE USING gist (
    uuidrange(route_id, route_id, '[]') WITH &&, tstzrange(effective_from, effective_to) WITH &&
) WHERE (superseded_at IS NULL);

ALTER TABLE price_items
    ADD COLUMN variant text NOT NULL DEFAULT '',     -- of the unit: 1024x1024/high; '': any
    ADD COLUMN processing text NOT NULL DEFAULT '' CHECK (processing IN ('', 'batch')),
    ADD COLUMN from_minute smallint NOT NULL DEFAULT 0 CHECK (from_minute BETWEEN 0 AND 1439),
    ADD COLUMN to_minute smallint NOT NULL DEFAULT 0 CHECK (to_minute BETWEEN 0 AND 1440), -- of the UTC day; 0, 0: all of it
    ADD COLUMN minimum_units bigint NOT NULL DEFAULT 0 CHECK (minimum_units >= 0);
ALTER TABLE price_items DROP CONSTRAINT price_items_version_id_unit_service_tier_above_input_tokens_key;
ALTER TABLE price_items ADD CONSTRAINT price_items_once
    UNIQUE (version_id, unit, variant, service_tier, processing, above_input_tokens, from_minute, to_minute);

-- Whose money -----------------------------------------------------------------------------------------------------
-- What a workspace pays on top of, or off, list prices, and for whom. One in force at a time; none: the defaults.
CREATE TABLE plans (
    id                uuid PRIMARY KEY,
    workspace_id      uuid NOT NULL REFERENCES workspaces (id),
    markup_bps        integer NOT NULL DEFAULT 0 CHECK (markup_bps BETWEEN -10000 AND 1000000),
    platform_fee_bps  integer NOT NULL DEFAULT 0 CHECK (platform_fee_bps BETWEEN 0 AND 10000),
    free_fees_pusd    bigint NOT NULL DEFAULT 0 CHECK (free_fees_pusd >= 0), -- waived each month of its time zone
    internal          boolean NOT NULL DEFAULT false, -- the operator's own: nothing is charged
    empty_answer_free boolean NOT NULL DEFAULT true,  -- no output and no finish: no charge
    effective_from    timestamptz NOT NULL,
    effective_to      timestamptz,
    created_at        timestamptz NOT NULL DEFAULT now(),
    CHECK (effective_to IS NULL OR effective_to > effective_from),
    CONSTRAINT plans_no_overlap EXCLUDE USING gist (
        uuidrange(workspace_id, workspace_id, '[]') WITH &&, tstzrange(effective_from, effective_to) WITH &&)
);

-- A markup or discount of one workspace for one llm, in place of its plan's.
CREATE TABLE price_overrides (
    id             uuid PRIMARY KEY,
    workspace_id   uuid NOT NULL REFERENCES workspaces (id),
    llm_id         uuid NOT NULL REFERENCES llms (id),
    markup_bps     integer NOT NULL CHECK (markup_bps BETWEEN -10000 AND 1000000),
    effective_from timestamptz NOT NULL,
    effective_to   timestamptz,
    created_at     timestamptz NOT NULL DEFAULT now(),
    CHECK (effective_to IS NULL OR effective_to > effective_from),
    CONSTRAINT price_overrides_no_overlap EXCLUDE USING gist (
        uuidrange(workspace_id, workspace_id, '[]') WITH &&, uuidrange(llm_id, llm_id, '[]') WITH &&,
        tstzrange(effective_from, effective_to) WITH &&)
);

ALTER TABLE workspaces ADD COLUMN client_leaves text NOT NULL DEFAULT 'auto'
    CHECK (client_leaves IN ('auto', 'drain', 'cancel', 'void'));
ALTER TABLE providers ADD COLUMN tier_word text NOT NULL DEFAULT 'served' CHECK (tier_word IN ('served', 'requested'));
ALTER TABLE llms ADD COLUMN unpriced text NOT NULL DEFAULT 'allow' CHECK (unpriced IN ('allow', 'reject'));

-- The record ------------------------------------------------------------------------------------------------------
ALTER TABLE usage_events
    ADD COLUMN processing text NOT NULL DEFAULT '',
    ADD COLUMN charge_kind text NOT NULL DEFAULT 'usage' CHECK (charge_kind IN ('usage', 'platform_fee', 'none')),
    ADD COLUMN charge_bps integer NOT NULL DEFAULT 10000, -- each line's charge: list × this / 10000, half-even
    ADD COLUMN charge_reason text NOT NULL DEFAULT '';    -- why nothing is charged, where that is so
UPDATE usage_events SET charge_kind = 'none', charge_bps = 0, charge_reason = 'own_key' WHERE provider_account = 'own';

-- An attempt as it is priced now, where that differs from its row. The newest one of a row counts.
CREATE TABLE usage_corrections (
    workspace_id     uuid NOT NULL,
    attempt_id       uuid NOT NULL,
    number           integer NOT NULL CHECK (number > 0), -- corrects number - 1; 1 corrects the row itself
    occurred_at      timestamptz NOT NULL,
    row_recorded_at  timestamptz NOT NULL,                -- of the row that it corrects: a row that changed since counts itself
    service_tier     text NOT NULL,
    input_tokens     bigint NOT NULL CHECK (input_tokens >= 0),
    cached_tokens    bigint NOT NULL CHECK (cached_tokens >= 0),
    output_tokens    bigint NOT NULL CHECK (output_tokens >= 0),
    reasoning_tokens bigint CHECK (reasoning_tokens >= 0),
    usage_inconsistent boolean NOT NULL,
    units            text[] NOT NULL,
    quantities       bigint[] NOT NULL,
    price_item_ids   uuid[] NOT NULL,
    line_list_pusd   bigint[] NOT NULL,
    line_charge_pusd bigint[] NOT NULL,
    list_pusd        bigint NOT NULL CHECK (list_pusd >= 0),
    charge_pusd      bigint NOT NULL CHECK (charge_pusd >= 0),
    charge_kind      text NOT NULL CHECK (charge_kind IN ('usage', 'platform_fee', 'none')),
    charge_bps       integer NOT NULL,
    charge_reason    text NOT NULL,
    pricing          text NOT NULL CHECK (pricing IN ('priced', 'unpriced')),
    reason           text NOT NULL,
    actor_kind       text NOT NULL,
    actor_id         uuid NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_id, attempt_id, number)
);
CREATE INDEX usage_corrections_time ON usage_corrections (occurred_at);

-- Entries of the ledger: usage and platform_fee are caused by an attempt, one of them at most; adjustment (a price that
-- was corrected, an attempt that was settled after it was abandoned) and refund name the entry they change; credit is given.
DROP TRIGGER billing_events_append_only ON billing_events;
ALTER TABLE billing_events DROP CONSTRAINT billing_events_kind_check, DROP CONSTRAINT billing_events_check;
UPDATE billing_events SET kind = 'adjustment' WHERE kind = 'correction';
ALTER TABLE billing_events
    ALTER COLUMN user_id DROP NOT NULL,
    ALTER COLUMN virtual_key_id DROP NOT NULL,
    ALTER COLUMN attempt_id DROP NOT NULL,
    ADD COLUMN actor_kind text NOT NULL DEFAULT 'system',
    ADD COLUMN actor_id uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    ADD CONSTRAINT billing_events_kind CHECK (kind IN ('usage', 'platform_fee', 'adjustment', 'refund', 'credit')),
    ADD CONSTRAINT billing_events_cause CHECK (
        CASE kind WHEN 'usage' THEN attempt_id IS NOT NULL AND corrects IS NULL
                  WHEN 'platform_fee' THEN attempt_id IS NOT NULL AND corrects IS NULL
                  WHEN 'adjustment' THEN corrects IS NOT NULL
                  WHEN 'refund' THEN corrects IS NOT NULL
                  ELSE true END);
DROP INDEX billing_events_once;
CREATE UNIQUE INDEX billing_events_once ON billing_events (attempt_id) WHERE kind IN ('usage', 'platform_fee');
CREATE INDEX billing_events_attempt ON billing_events (attempt_id) WHERE attempt_id IS NOT NULL;
CREATE INDEX billing_events_corrects ON billing_events (corrects) WHERE corrects IS NOT NULL;
CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: write an entry that names the one it corrects', TG_TABLE_NAME;
END $$;
CREATE TRIGGER billing_events_append_only BEFORE UPDATE OR DELETE ON billing_events
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER usage_corrections_append_only BEFORE UPDATE OR DELETE ON usage_corrections
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER usage_corrections_no_truncate BEFORE TRUNCATE ON usage_corrections
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- How much of a month's free platform fees a workspace has used.
CREATE TABLE fee_allowances (
    workspace_id uuid NOT NULL REFERENCES workspaces (id),
    month        date NOT NULL,                      -- its first day, in the workspace's time zone
    used_pusd    numeric(38, 0) NOT NULL,
    PRIMARY KEY (workspace_id, month)
);

CREATE INDEX usage_daily_unpriced ON usage_daily (llm, provider) WHERE unit = 'unpriced';

-- What somebody should look at ------------------------------------------------------------------------------------
CREATE TABLE alerts (
    id           uuid PRIMARY KEY,
    kind         text NOT NULL,                      -- unpriced, dead_letters, … (proxy/alerts/kinds.py)
    subject      text NOT NULL,                      -- what it is about: openai/gpt-5, a shard, …
    workspace_id uuid REFERENCES workspaces (id),    -- NULL: the platform's
    message      text NOT NULL,
    raised_at    timestamptz NOT NULL DEFAULT now(),
    seen_at      timestamptz NOT NULL DEFAULT now(), -- when it was found still true
    resolved_at  timestamptz
);
CREATE UNIQUE INDEX alerts_firing ON alerts (kind, subject, workspace_id) NULLS NOT DISTINCT WHERE resolved_at IS NULL;
CREATE INDEX alerts_raised ON alerts (raised_at);

CREATE TABLE exports (
    id           uuid PRIMARY KEY,
    workspace_id uuid REFERENCES workspaces (id),    -- NULL: all of them
    actor_kind   text NOT NULL,
    actor_id     uuid NOT NULL,
    kind         text NOT NULL CHECK (kind IN ('usage-events', 'billing-events', 'daily')),
    manifest     text,                               -- JSON, once it is complete
    created_at   timestamptz NOT NULL DEFAULT now(),
    finished_at  timestamptz
);
CREATE INDEX exports_workspace ON exports (workspace_id, id);
