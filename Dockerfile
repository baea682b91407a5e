# docker build --build-arg COMMIT=$(git rev-parse --short=12 HEAD) -t cifar_hpc .
# docker run --rm -v "$PWD/runs:/work/runs" -v cifar:/data cifar_hpc fit -c ghugre_sequential -c smoke
# --user $(id -u) lets runs belong to you; --gpus all is for rows that train on a GPU.
FROM python:3.12-slim-bookworm

ARG COMMIT=""
ENV PYTHONUNBUFFERED=1 CIFAR_HPC_DATA=/data

# First the packages, which change seldom.
WORKDIR /src
COPY constraints.txt pyproject.toml hatch_build.py README.md LICENSE ./
COPY cifar_hpc/__init__.py cifar_hpc/
COPY configs configs
COPY reproductions reproductions
RUN pip install --no-cache-dir -c constraints.txt .

COPY cifar_hpc cifar_hpc
RUN CIFAR_HPC_COMMIT=$COMMIT pip install --no-cache-dir --no-deps --force-reinstall . \
    && useradd --uid 1000 --create-home trainer \
    && install --directory --mode=777 /data /work

USER 1000
WORKDIR /work
VOLUME /data
ENTRYPOINT ["cifar-hpc"]
CMD ["--help"]
