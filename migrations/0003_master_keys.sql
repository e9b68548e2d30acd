-- Which master keys open this database. `current` seals; `previous` are still accepted until they are retired.
CREATE TABLE master_keys (
    key_id     bytea PRIMARY KEY,                -- stands in front of all that it sealed; says nothing about the key
    ring       bytea NOT NULL,                   -- hash key and all sealing keys, sealed with this master key: also proves it
    state      text NOT NULL CHECK (state IN ('current', 'previous')),
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX master_keys_current ON master_keys (state) WHERE state = 'current';
