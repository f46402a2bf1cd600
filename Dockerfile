# docker build -t videolights . && docker run -p 8000:8000 -v /path/to/model:/model:ro videolights
FROM python:3.11-slim

# An index of CPU builds of torch makes the image gigabytes smaller: --build-arg TORCH_INDEX=ADDRESS
ARG TORCH_INDEX=""
WORKDIR /app
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src src
RUN if [ -n "$TORCH_INDEX" ]; then pip install --no-cache-dir --index-url "$TORCH_INDEX" torch==2.13.0; fi \
    && pip install --no-cache-dir -c constraints.txt ".[serve,onnx]"

# Videos of strangers are decoded here.
RUN useradd --create-home videolights
USER videolights
ENV HF_HUB_OFFLINE=1
EXPOSE 8000
HEALTHCHECK --start-period=120s CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=3)"]
ENTRYPOINT ["videolights", "serve"]
CMD ["/model", "--host", "0.0.0.0"]
